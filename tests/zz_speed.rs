//! temporary
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use protox::prost_reflect::{DynamicMessage, Value as P, prost::Message};
use std::time::Instant;
use trendmark::decode::{Decoder, FieldNames, avro::AvroDecoder, protobuf::*};
#[test]
fn speed() {
    let n = 3_000_000u64;
    let id = "0123abcd-4567-89ab-cdef-0123456789ab";
    let s = r#"{"type":"record","name":"E","fields":[{"name":"request_id","type":"string"},{"name":"video_id","type":"long"},{"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"record_time","type":["null","long"]},{"name":"x","type":{"type":"array","items":"string"}}]}"#;
    let sc = apache_avro::Schema::parse_str(s).unwrap();
    let v = Value::Record(vec![
        ("request_id".into(), Value::String(id.into())),
        ("video_id".into(), Value::Long(1234567)),
        ("event_time".into(), Value::TimestampMillis(1767225600000)),
        ("record_time".into(), Value::Union(1, Box::new(Value::Long(1767225600000)))),
        ("x".into(), Value::Array(vec![Value::String("abc".into())])),
    ]);
    let rec = GenericDatumWriter::builder(&sc).build().unwrap().write_value_to_vec(v).unwrap();
    let f = FieldNames::default();
    let d = AvroDecoder::new(&f, s, &[]).unwrap();
    let t = Instant::now();
    let mut a = 0;
    for i in 0..n {
        a ^= d.decode(std::hint::black_box(&rec), i).unwrap().video.0 + i;
    }
    println!("avro {:.2} M/s {a} {} bytes", n as f64 / t.elapsed().as_secs_f64() / 1e6, rec.len());
    let j = format!(
        r#"{{"request_id":"{id}","video_id":1234567,"event_time":1767225600000,"record_time":1767225600000,"x":"abc"}}"#
    );
    let mut d = Decoder::new(&f);
    let t = Instant::now();
    for i in 0..n {
        a ^= d.decode(std::hint::black_box(j.as_bytes()), i).unwrap().video.0 + i;
    }
    println!("json {:.2} M/s {a}", n as f64 / t.elapsed().as_secs_f64() / 1e6);
    let s = r#"syntax="proto3"; import "google/protobuf/timestamp.proto"; message E { string request_id=1; uint64 video_id=2; google.protobuf.Timestamp event_time=3; int64 record_time=4; string x=5; }"#;
    let ps = ProtobufSchema::new(s, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.proto"), s).unwrap();
    let mut c = protox::Compiler::new([dir.path()]).unwrap();
    c.open_file("a.proto").unwrap();
    let md = c.descriptor_pool().get_message_by_name("E").unwrap();
    let mut m = DynamicMessage::new(md.clone());
    m.set_field_by_name("request_id", P::String(id.into()));
    m.set_field_by_name("video_id", P::U64(1234567));
    m.set_field_by_name("record_time", P::I64(1767225600000));
    m.set_field_by_name("x", P::String("abc".into()));
    let tf = md.get_field_by_name("event_time").unwrap();
    let mut tm = DynamicMessage::new(tf.kind().as_message().unwrap().clone());
    tm.set_field_by_name("seconds", P::I64(1767225600));
    m.set_field_by_name("event_time", P::Message(tm));
    let rec = m.encode_to_vec();
    let d = ProtobufDecoder::new(&f, &ps, &[0]).unwrap();
    let t = Instant::now();
    for i in 0..n {
        a ^= d.decode(std::hint::black_box(&rec), i).unwrap().video.0 + i;
    }
    println!(
        "protobuf {:.2} M/s {a} {} bytes",
        n as f64 / t.elapsed().as_secs_f64() / 1e6,
        rec.len()
    );
}
#[test]
fn https() {
    use trendmark::kafka::*;
    let Ok(url) = std::env::var("HTTPS_URL") else { return };
    let s = RegistrySettings::given(&url.parse().unwrap(), None).unwrap();
    let r = Registry::new(&s).unwrap();
    for _ in 0..30 {
        let l = r.look(7);
        println!("{l:?}");
        if !matches!(l, Lookup::Waiting) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
