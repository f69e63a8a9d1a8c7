//! The records of rows and of the ledger: JSON that is written into buffers which are used again.
//!
//! The key of a row is the columns of its key and its epoch, `{"video_id":7,"epoch":983568}`; its
//! value says everything once more, so that a reader needs the value alone. Videos are integers of
//! the whole unsigned 64-bit range, requests UUIDs, flags `true` or `false`.

use crate::event::{Kind, RequestId, VideoId};
use crate::ledger::Counts;
use crate::query::{ColumnType, Row};
use crate::stores::description::{StoredColumn, StoredQuery, TRENDS};
use crate::time::{Definition, Epoch, rfc3339};
use serde::{Deserialize, Serialize};

/// How the records of a query are written.
pub(super) struct RowFormat {
    key: Vec<Field>,
    values: Vec<Field>,
    /// Whether a row says if it is final, and up to which watermark it was computed.
    tells_final: bool,
}

/// A column, and the text before its value: `"video_id":`.
struct Field {
    name: String,
    column_type: ColumnType,
}

/// What the rows of a publication have in common.
pub(super) struct Stamp {
    definition: Definition,
    final_through: Option<Epoch>,
    /// The ends of a value: of a row that says whether it is final, and of any other.
    watermark: String,
    publication: String,
    /// The epoch of the last row, and its start in quotes.
    start: (Epoch, String),
}

impl RowFormat {
    /// That of a query.
    pub fn of(query: &StoredQuery) -> RowFormat {
        let field = |column: &StoredColumn| Field {
            name: format!("\"{}\":", column.name),
            column_type: column.column_type,
        };
        RowFormat {
            key: query.key.iter().map(field).collect(),
            values: query.values.iter().map(field).collect(),
            tells_final: query.name == TRENDS,
        }
    }

    /// Appends the key of a row's record.
    pub fn write_key(&self, row: &Row, record: &mut Vec<u8>) {
        record.push(b'{');
        self.write_name(row, record);
        record.push(b'}');
    }

    /// Appends the value of a row's record.
    pub fn write_value(&self, row: &Row, stamp: &mut Stamp, record: &mut Vec<u8>) {
        record.push(b'{');
        self.write_name(row, record);
        record.extend_from_slice(b",\"epoch_start\":");
        record.extend_from_slice(stamp.start(Epoch(row.epoch)).as_bytes());
        record.push(b',');
        write_fields(&self.values, &row.values, record);
        if self.tells_final {
            let is_final = stamp.final_through >= Some(Epoch(row.epoch));
            record.extend_from_slice(b"\"final\":");
            write_flag(is_final, record);
            record.extend_from_slice(stamp.watermark.as_bytes());
        }
        record.extend_from_slice(stamp.publication.as_bytes());
    }

    fn write_name(&self, row: &Row, record: &mut Vec<u8>) {
        write_fields(&self.key, &row.key, record);
        record.extend_from_slice(b"\"epoch\":");
        write_integer(row.epoch, record);
    }
}

impl Stamp {
    /// That of a publication.
    pub fn new(
        definition: Definition,
        final_through: Option<Epoch>,
        watermark_ms: Option<i64>,
        publication: u64,
    ) -> Stamp {
        let watermark = match watermark_ms {
            Some(watermark_ms) => format!(",\"watermark\":\"{}\",", rfc3339(watermark_ms)),
            None => ",\"watermark\":null,".to_owned(),
        };
        let publication = format!("\"publication\":{publication}}}");
        let start = start(&definition, Epoch(0));
        Stamp { definition, final_through, watermark, publication, start: (Epoch(0), start) }
    }

    fn start(&mut self, epoch: Epoch) -> &str {
        if self.start.0 != epoch {
            self.start = (epoch, start(&self.definition, epoch));
        }
        &self.start.1
    }
}

fn start(definition: &Definition, epoch: Epoch) -> String {
    format!("\"{}\"", definition.start_rfc3339(epoch))
}

/// Appends columns with a comma after each.
fn write_fields(fields: &[Field], cells: &[u64], record: &mut Vec<u8>) {
    let mut next = 0;
    for Field { name, column_type } in fields {
        let start = next;
        next += column_type.cells();
        record.extend_from_slice(name.as_bytes());
        write_cells(*column_type, &cells[start..next], record);
        record.push(b',');
    }
}

fn write_cells(column_type: ColumnType, cells: &[u64], record: &mut Vec<u8>) {
    match column_type {
        ColumnType::Video => write_unsigned(VideoId(cells[0]).0, record),
        ColumnType::Count => write_unsigned(cells[0], record),
        ColumnType::Request => write_request(RequestId([cells[0], cells[1]]), record),
        ColumnType::Flag => write_flag(cells[0] != 0, record),
        ColumnType::Kind => {
            record.push(b'"');
            record.extend_from_slice(Kind::ALL[cells[0] as usize].name().as_bytes());
            record.push(b'"');
        }
    }
}

fn write_flag(flag: bool, record: &mut Vec<u8>) {
    record.extend_from_slice(if flag { b"true" } else { b"false" });
}

fn write_integer(number: i64, record: &mut Vec<u8>) {
    if number < 0 {
        record.push(b'-');
    }
    write_unsigned(number.unsigned_abs(), record);
}

fn write_unsigned(number: u64, record: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    record.extend_from_slice(&digits[first..]);
}

/// Appends the 36-character form of a UUID, in lower case and in quotes.
fn write_request(request: RequestId, record: &mut Vec<u8>) {
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    record.push(b'"');
    for (index, byte) in request.to_u128().to_be_bytes().into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            record.push(b'-');
        }
        record.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    record.push(b'"');
}

/// What names a row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerKey {
    /// The epoch of the events' own time.
    pub epoch: Epoch,
    /// Their kind.
    pub kind: Kind,
}

/// A row of the ledger as it is in the topic: all counts since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// What names it.
    #[serde(flatten)]
    pub key: LedgerKey,
    /// All events that were read: the sum of the others.
    pub events: i64,
    /// The accepted events without their duplicates.
    pub distinct_events: i64,
    /// The other accepted events.
    pub duplicate_events: i64,
    /// The rejected events whose epoch had closed.
    pub late_events: i64,
    /// The rejected events that were stamped too far after their records' own timestamps.
    pub future_events: i64,
}

/// What became of the events of one epoch and kind since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// What the workers have counted.
    pub counts: Counts,
    /// How many of the accepted events are distinct, as the dataflow has counted.
    pub distinct: u64,
}

impl Totals {
    /// As they are in the topic.
    pub fn row(&self, key: LedgerKey) -> LedgerRow {
        let Counts { accepted, late, future } = self.counts;
        LedgerRow {
            key,
            events: (accepted + late + future).cast_signed(),
            distinct_events: self.distinct.cast_signed(),
            duplicate_events: accepted.wrapping_sub(self.distinct).cast_signed(),
            late_events: late.cast_signed(),
            future_events: future.cast_signed(),
        }
    }

    /// As they were in the topic.
    pub fn of(row: &LedgerRow) -> Totals {
        let accepted = row.distinct_events.wrapping_add(row.duplicate_events).cast_unsigned();
        let (late, future) = (row.late_events.cast_unsigned(), row.future_events.cast_unsigned());
        let distinct = row.distinct_events.cast_unsigned();
        Totals { counts: Counts { accepted, late, future }, distinct }
    }
}
