//! SQLite's view of files: the one database that it was given, and nothing else.
//!
//! SQLite reaches files through a table of C functions (<https://sqlite.org/vfs.html>). These serve reads from a [`Pages`], refuse everything else, and never see a path:
//! a database is opened by the number that [`register`] gave it. In a sandbox, the library is built without file systems of its own (`SQLITE_OS_OTHER`).
#![expect(unsafe_code, reason = "SQLite's interface for file systems is a table of C functions")]

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    rc::Rc,
    slice,
};

use bulkhead_sdk::Error;
use rusqlite::ffi;

use crate::pages::Pages;

/// The longest name, with its end.
const MAX_NAME: c_int = 64;
/// Where the first page says whether there is a write-ahead log.
const VERSIONS: std::ops::Range<u64> = 18..20;
/// What it says where there is none. An image has its log in it already.
const WITHOUT_LOG: u8 = 1;

/// A database that can be opened, and why reading it failed.
pub(super) struct Content {
    pages: Rc<dyn Pages>,
    error: RefCell<Option<Error>>,
}

impl Content {
    /// Why the last read failed.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.borrow_mut().take()
    }

    fn read(&self, mut offset: u64, mut into: &mut [u8]) -> c_int {
        while !into.is_empty() {
            let part = match self.pages.read(offset, into.len()) {
                Ok(part) => part,
                Err(error) => {
                    self.error.replace(Some(error));
                    return ffi::SQLITE_IOERR_READ;
                }
            };
            if part.is_empty() {
                // SQLite wants what is missing as zeros.
                into.fill(0);
                return ffi::SQLITE_IOERR_SHORT_READ;
            }
            let (filled, rest) = into.split_at_mut(part.len());
            filled.copy_from_slice(&part);
            for place in VERSIONS.filter(|place| (offset..offset + part.len() as u64).contains(place)) {
                filled[usize::try_from(place - offset).unwrap_or(0)] = WITHOUT_LOG;
            }
            (offset, into) = (offset + part.len() as u64, rest);
        }
        ffi::SQLITE_OK
    }
}

/// Natively, SQLite has file systems of its own beside this one.
#[cfg(not(target_arch = "wasm32"))]
static INSTALL: std::sync::Once = std::sync::Once::new();

thread_local! {
    static CONTENTS: RefCell<HashMap<Vec<u8>, Rc<Content>>> = RefCell::default();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A name under which a database can be opened, for as long as this is.
pub(super) struct Registered {
    name: String,
    pub(super) content: Rc<Content>,
}

/// Makes a database known.
pub(super) fn register(pages: Rc<dyn Pages>) -> Registered {
    #[cfg(not(target_arch = "wasm32"))]
    INSTALL.call_once(|| {
        install();
    });
    let name = NEXT.with(|next| next.replace(next.get() + 1)).to_string();
    let content = Rc::new(Content {
        pages,
        error: RefCell::default(),
    });
    CONTENTS.with_borrow_mut(|contents| contents.insert(name.clone().into_bytes(), Rc::clone(&content)));
    Registered { name, content }
}

impl Registered {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        CONTENTS.with_borrow_mut(|contents| contents.remove(self.name.as_bytes()));
    }
}

/// What SQLite keeps of an open file: its functions, then what is ours.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    content: *const Content,
}

/// The name of this file system.
pub(super) const NAME: &CStr = c"pages";

/// In a sandbox, SQLite calls this before anything else: there is no other file system.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
extern "C" fn sqlite3_os_init() -> c_int {
    install()
}

#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
extern "C" fn sqlite3_os_end() -> c_int {
    ffi::SQLITE_OK
}

/// Makes the file system known to SQLite.
fn install() -> c_int {
    let vfs = ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<OpenFile>() as c_int,
        mxPathname: MAX_NAME,
        pNext: ptr::null_mut(),
        zName: NAME.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(no_sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    };
    // SAFETY: SQLite keeps the table for as long as the program runs, so it is never freed.
    unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(with_flags),
    xFileSize: Some(file_size),
    xLock: Some(with_flags),
    xUnlock: Some(with_flags),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes room for `szOsFile` bytes, aligned for any type, and a name that ends with NUL, or none.
    unsafe {
        (*file).pMethods = ptr::null();
        if name.is_null() || flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
            return ffi::SQLITE_CANTOPEN;
        }
        let name = CStr::from_ptr(name).to_bytes();
        let Some(content) = CONTENTS.with_borrow(|contents| contents.get(name).cloned()) else {
            return ffi::SQLITE_CANTOPEN;
        };
        file.cast::<OpenFile>().write(OpenFile {
            base: ffi::sqlite3_file {
                pMethods: &raw const METHODS,
            },
            content: Rc::into_raw(content),
        });
        if !out_flags.is_null() {
            *out_flags = ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_MAIN_DB;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` put it there, and SQLite closes a file once.
    unsafe { drop(Rc::from_raw((*file.cast::<OpenFile>()).content)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, length: c_int, offset: ffi::sqlite3_int64) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(length), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: `open` put the content there; SQLite passes room for `length` bytes. They are initialized before they are read through the slice: it is only written to.
    unsafe {
        into.cast::<u8>().write_bytes(0, length);
        let into = slice::from_raw_parts_mut(into.cast::<u8>(), length);
        (*(*file.cast::<OpenFile>()).content).read(offset, into)
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: `open` put the content there, and `size` is SQLite's.
    unsafe { *size = i64::try_from((*(*file.cast::<OpenFile>()).content).pages.size()).unwrap_or(i64::MAX) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn write(_: *mut ffi::sqlite3_file, _: *const c_void, _: c_int, _: ffi::sqlite3_int64) -> c_int {
    ffi::SQLITE_READONLY
}

unsafe extern "C" fn truncate(_: *mut ffi::sqlite3_file, _: ffi::sqlite3_int64) -> c_int {
    ffi::SQLITE_READONLY
}

/// Nothing to sync and nobody to lock out: what is read does not change.
unsafe extern "C" fn with_flags(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn is_reserved(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite's own.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_IMMUTABLE
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, _: *const c_char, _: c_int) -> c_int {
    ffi::SQLITE_READONLY
}

/// There is no file beside a database.
unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, _: *const c_char, _: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite's own.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(_: *mut ffi::sqlite3_vfs, name: *const c_char, length: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite passes a name that ends with NUL, and room for `length` bytes.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if usize::try_from(length).is_ok_and(|length| name.len() <= length) {
            ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
            return ffi::SQLITE_OK;
        }
    }
    ffi::SQLITE_CANTOPEN
}

/// Of use only to who writes.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn no_sleep(_: *mut ffi::sqlite3_vfs, _: c_int) -> c_int {
    0
}

/// The Julian day of 1970: checks do not ask for the time.
unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite's own.
    unsafe { *out = 2_440_587.5 };
    ffi::SQLITE_OK
}
