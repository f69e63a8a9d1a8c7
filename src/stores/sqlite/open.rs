//! Opens the database of a store. The file is identified before anything in it is changed.

use super::BUSY_TIMEOUT;
use super::lock::StoreLock;
use super::wal::{CHECKPOINT_BYTES, Wal};
use super::{SqliteReader, description, progress, schema};
use crate::stores::description::{self as described, Description};
use crate::stores::lease::Found;
use crate::stores::{Claim, Lease, LeaseState, StoreError, StoreReader};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The page size, in bytes. Adding random request ids takes 10 to 28 % less time than with 4,096.
const PAGE_BYTES: i64 = 8192;
/// The size of the page cache, in bytes.
const CACHE_BYTES: i64 = 64 << 20;

/// The content of a database file.
enum DatabaseContent {
    /// An empty database.
    Empty,
    /// A store with this description.
    Store(Description),
}

/// Returns the path of a store with links resolved, so that all paths to it name the same store.
///
/// # Errors
/// When its folder does not exist.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |error| StoreError::Io { action: "create", path: path.to_owned(), error };
    match path.canonicalize() {
        Ok(absolute) => Ok(absolute),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error).map_err(failed)?;
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            Ok(folder.canonicalize().map_err(failed)?.join(name))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Waits until no other job has the store, or its lease has expired, and locks it. If this job is
/// refused, the other one keeps its lock.
///
/// # Errors
/// When another job has the store and lives, the store has another definition or other queries, or
/// the lock file cannot be created.
pub(super) fn lock(
    path: &Path,
    description: &Description,
    claim: &Claim,
) -> Result<StoreLock, StoreError> {
    let name = path.display().to_string();
    // What was found last: after a lock was taken away, its job is not waited for again.
    let mut expired = Found::Free;
    // Ends: whoever acquires a lock that was taken away makes this job wait, and then refuses it.
    loop {
        let mut lock = Ok(None);
        let mut last = Found::Free;
        claim.wait(&name, || {
            let lease = || SqliteReader::open(path).and_then(|reader| reader.lease());
            if let Ok(Some(_)) = lock {
                return Ok(found_unlocked(lease(), &expired));
            }
            match StoreLock::acquire(path)? {
                Ok(acquired) => {
                    lock = Ok(Some(acquired));
                    Ok(found_unlocked(lease(), &expired))
                }
                Err(held) => {
                    // Its owner has the file locked, so it has not ended, whatever its lease says.
                    let found = match lease() {
                        Ok(Some(lease)) => Found::held(&lease),
                        _ => Found::Held { sign: (0, 0), holder: held.owner.clone() },
                    };
                    lock = Err(held);
                    last = found.clone();
                    Ok(found)
                }
            }
        })?;
        match lock {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(held) => {
                ensure_same(path, description)?;
                held.take_away()?;
                expired = last;
            }
        }
    }
}

/// Judges the lease of a store that nobody has locked. Its job may live all the same: its lock was
/// taken away by a job that died before it had the store. Not if this is what was found expired.
fn found_unlocked(lease: Result<Option<Lease>, StoreError>, expired: &Found) -> Found {
    match lease {
        Ok(Some(lease)) if !lease.is_over() && Found::held(&lease) != *expired => {
            Found::held(&lease)
        }
        // What is wrong with the file is said when it is opened.
        _ => Found::Free,
    }
}

/// Refuses a store with another definition or other queries, or a file that is not a store.
fn ensure_same(path: &Path, description: &Description) -> Result<(), StoreError> {
    match open_to_read(path, false) {
        Ok((_, DatabaseContent::Store(stored))) => {
            stored.ensure_same(&path.display().to_string(), description)
        }
        // Its job has the lock, and is about to create the store.
        Ok((_, DatabaseContent::Empty)) => Ok(()),
        Err(_) if !path.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a database for writing, creates a store in it if it is empty, and takes the store over:
/// the previous job can no longer commit. Returns the lease of this job.
///
/// # Errors
/// When the store has another definition or other queries, the file is not a store, or another
/// program has it locked.
pub(super) fn take_over(
    path: &Path,
    description: &Description,
) -> Result<(Connection, Lease), StoreError> {
    let failed = to_store_error(path, "open");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    match identify(&connection, path)? {
        DatabaseContent::Store(stored) => {
            stored.ensure_same(&path.display().to_string(), description)?;
        }
        DatabaseContent::Empty => {
            connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(&failed)?
        }
    }
    configure(&connection, path, &failed)?;
    let behavior = TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behavior).map_err(&failed)?;
    if is_empty(&transaction).map_err(&failed)? {
        transaction.execute_batch(&schema::create(description)).map_err(&failed)?;
        description::write(&transaction, description).map_err(&failed)?;
    }
    let lease = begin_generation(&transaction).map_err(&failed)?;
    transaction.commit().map_err(&failed)?;
    connection.set_prepared_statement_cache_capacity(16 + 2 * description.queries.len());
    Ok((connection, lease))
}

/// Begins the next generation: earlier jobs can no longer commit.
fn begin_generation(transaction: &Transaction<'_>) -> rusqlite::Result<Lease> {
    let before = progress::lease(transaction)?;
    let begin = "UPDATE job SET generation = generation + 1 RETURNING generation";
    let generation: i64 = transaction.query_row(begin, [], |row| row.get(0))?;
    let lease = Lease::new(generation.unsigned_abs(), before.as_ref());
    let lease = Lease { state: LeaseState::Running, ..lease };
    transaction.execute("UPDATE job SET lease = ?1", [lease.to_json()])?;
    Ok(lease)
}

/// Opens a store for reading, and reads its description.
///
/// # Errors
/// When the file does not exist, or is not a store.
pub(super) fn read(path: &Path) -> Result<(Connection, Description), StoreError> {
    let path = &path.canonicalize().map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound(path.display().to_string()),
        _ => StoreError::Io { action: "read", path: path.to_owned(), error },
    })?;
    let (connection, found) = match open_to_read(path, false) {
        // In a read-only folder, SQLite can open only a file that no program writes.
        Err(StoreError::Database { error, .. }) if is_read_only(&error) && !has_wal(path) => {
            open_to_read(path, true)?
        }
        opened => opened?,
    };
    match found {
        DatabaseContent::Store(description) => Ok((connection, description)),
        DatabaseContent::Empty => Err(not_a_store(path, "it is empty")),
    }
}

fn open_to_read(path: &Path, immutable: bool) -> Result<(Connection, DatabaseContent), StoreError> {
    let failed = to_store_error(path, "read");
    // Opened for writing, as only then the last connection removes the WAL files when it closes.
    // Where the file is not writable, SQLite falls back to read-only by itself.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if immutable {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(immutable_uri(path), flags)
    } else {
        Connection::open_with_flags(path, flags)
    };
    let connection = connection.map_err(&failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    connection.pragma_update(None, "query_only", true).map_err(&failed)?;
    let found = identify(&connection, path)?;
    Ok((connection, found))
}

fn is_read_only(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn has_wal(path: &Path) -> bool {
    Wal::of(path).bytes() > 0
}

fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(*byte as char),
            _ if byte.is_ascii_alphanumeric() => uri.push(*byte as char),
            _ => uri += &format!("%{byte:02x}"),
        }
    }
    uri + "?mode=ro&immutable=1"
}

/// Identifies the content of a database, without changing it.
fn identify(connection: &Connection, path: &Path) -> Result<DatabaseContent, StoreError> {
    let failed = to_store_error(path, "read");
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(&failed)?;
    if is_empty(connection).map_err(&failed)? && application == 0 {
        return Ok(DatabaseContent::Empty);
    }
    if application != schema::APPLICATION_ID {
        return Err(not_a_store(path, "it is a database of another program"));
    }
    let format = pragma("user_version").map_err(&failed)?;
    described::check_format(&path.display().to_string(), format)?;
    let description = description::read(connection).map_err(&failed)?;
    Ok(DatabaseContent::Store(description))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Enables the WAL, and configures the connection.
fn configure(
    connection: &Connection,
    path: &Path,
    failed: &impl Fn(rusqlite::Error) -> StoreError,
) -> Result<(), StoreError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        let error = std::io::Error::new(
            ErrorKind::Unsupported,
            "its file system does not support the shared memory of SQLite's WAL; \
             put it on a local disk",
        );
        return Err(StoreError::Io { action: "create", path: path.to_owned(), error });
    }
    let pragmas = [
        // FULL: a commit is on disk when it returns, so that a power loss cannot undo it.
        ("synchronous", 2),
        // MEMORY.
        ("temp_store", 2),
        // In KiB, because negative.
        ("cache_size", -(CACHE_BYTES / 1024)),
        // In pages.
        ("wal_autocheckpoint", CHECKPOINT_BYTES.cast_signed() / PAGE_BYTES),
        // The size, in bytes, to which the WAL is truncated after a large commit or a long read.
        ("journal_size_limit", CHECKPOINT_BYTES.cast_signed()),
    ];
    for (name, value) in pragmas {
        // Some pragmas return their new value, others return nothing.
        connection.pragma(None, name, value, |_| Ok(())).map_err(failed)?;
    }
    Ok(())
}

/// Whether an error means that another program has the database locked.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn not_a_store(path: &Path, reason: &str) -> StoreError {
    StoreError::NotAStore { store: path.display().to_string(), reason: reason.to_owned() }
}

/// Converts an error of the database into an error of the store.
pub(super) fn to_store_error<'a>(
    path: &'a Path,
    action: &'static str,
) -> impl Fn(rusqlite::Error) -> StoreError + 'a {
    move |error| {
        if is_busy(&error) {
            let reason = "another program has it locked".to_owned();
            StoreError::Locked { path: path.to_owned(), reason }
        } else if path.is_dir() {
            not_a_store(path, "it is a folder")
        } else if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
            not_a_store(path, "it is not an SQLite database")
        } else {
            StoreError::Database { action, path: path.to_owned(), error }
        }
    }
}
