// SPDX-License-Identifier: GPL-2.0

//! Read-only text files in debugfs (`<linux/debugfs.h>`, `<linux/seq_file.h>`).

use super::{bindings, memmap::PAGE_SIZE};
use core::{fmt, marker::PhantomData, ptr::null_mut};
use kernel::{
    ffi::{c_int, c_ushort, c_void},
    prelude::*,
    str::CStr,
    ThisModule,
};

/// The file that is being shown.
pub(crate) struct SeqFile(*mut bindings::seq_file);

impl fmt::Write for SeqFile {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: The file is open while it is shown; the length goes with the text.
        unsafe { bindings::seq_write(self.0, text.as_ptr().cast::<c_void>(), text.len()) };
        // A full buffer is no error: the C side shows the file again with a larger one.
        Ok(())
    }
}

/// Something whose state can be read as text.
pub(crate) trait Show: Sync {
    /// Bytes of the text. If there are more it is written several times, each time to a larger
    /// buffer.
    const BYTES: usize = PAGE_SIZE;

    /// Writes the text. May sleep.
    fn show(&self, file: &mut SeqFile) -> fmt::Result;

    /// The type's [`FileOperations`]; [`file_operations!`] writes this.
    fn file_operations() -> &'static FileOperations<Self>;
}

/// Implements [`Show::file_operations`] for a type.
macro_rules! file_operations {
    ($type:ty) => {
        fn file_operations() -> &'static $crate::kapi::debugfs::FileOperations<$type> {
            static OPS: $crate::kapi::debugfs::FileOperations<$type> =
                $crate::kapi::debugfs::FileOperations::new(&$crate::THIS_MODULE);
            &OPS
        }
    };
}
pub(crate) use file_operations;

/// A directory in debugfs, removed with all that is in it when dropped.
///
/// debugfs is for people: that something could not be created is no error for anybody else, so
/// nothing here fails. The C side accepts error pointers as parents.
pub(crate) struct Dir {
    /// The C object, or an error pointer.
    dentry: *mut bindings::dentry,
}

// SAFETY: debugfs does its own locking; the pointer is not dereferenced here.
unsafe impl Send for Dir {}
// SAFETY: As for `Send`: nothing is reached through a shared reference without the C side.
unsafe impl Sync for Dir {}

impl Dir {
    /// Creates a directory at the top of debugfs.
    pub(crate) fn new(name: &CStr) -> Self {
        Self::create(name, null_mut())
    }

    /// Creates a directory in this one.
    pub(crate) fn dir(&self, name: &CStr) -> Self {
        Self::create(name, self.dentry)
    }

    /// Creates a directory; null is the top.
    fn create(name: &CStr, parent: *mut bindings::dentry) -> Self {
        // SAFETY: The name is copied; parents are null or come from here.
        let dentry = unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), parent) };
        Self { dentry }
    }

    /// Creates a file that shows `data`.
    pub(crate) fn file<T: Show>(&self, name: &CStr, data: &'static T) {
        let data: *const T = data;
        let (name, data) = (name.as_char_ptr(), data.cast_mut().cast::<c_void>());
        let ops: *const bindings::file_operations = &T::file_operations().0;
        // SAFETY: The name is copied; the operations live as long as the module, and the
        // directory's removal waits for those who use them.
        unsafe { bindings::debugfs_create_file(name, MODE, self.dentry, data, ops) };
    }
}

/// Everybody may read (root only, in fact: debugfs itself is mounted for root).
const MODE: c_ushort = 0o100444;

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: Error pointers are accepted. Waits for readers of the files.
        unsafe { bindings::debugfs_remove(self.dentry) };
    }
}

/// The file operations for showing a `T`.
pub(crate) struct FileOperations<T: ?Sized>(bindings::file_operations, PhantomData<fn(&T)>);

// SAFETY: Function pointers, and the module, which the C side counts references of.
unsafe impl<T: ?Sized> Sync for FileOperations<T> {}

impl<T: Show> FileOperations<T> {
    /// Those for `T`. A file that is open keeps `module` loaded.
    pub(crate) const fn new(module: &'static ThisModule) -> Self {
        let operations = bindings::file_operations {
            owner: module.as_ptr(),
            open: Some(File::<T>::open),
            read: Some(bindings::seq_read),
            llseek: Some(bindings::seq_lseek),
            release: Some(bindings::single_release),
            // SAFETY: All members may be null or zero.
            ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
        };
        Self(operations, PhantomData)
    }
}

/// The callbacks for showing a `T`.
struct File<T>(PhantomData<T>);

impl<T: Show> File<T> {
    /// `file_operations::open`.
    ///
    /// # Safety
    ///
    /// Called by the VFS for a file of [`Dir::file`].
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: debugfs put the data pointer there.
        let data = unsafe { (*inode).i_private };
        // SAFETY: `file` is being opened; `show` takes what `data` points to.
        unsafe { bindings::single_open_size(file, Some(Self::show), data, T::BYTES) }
    }

    /// The callback of `single_open_size`.
    ///
    /// # Safety
    ///
    /// Called by seq_file for a file that [`Self::open`] opened.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: `single_open_size` put the data pointer there.
        let data = unsafe { (*seq).private };
        // SAFETY: It points to a `T` that lives as long as the file, by `Dir::file`.
        let shown = unsafe { &*data.cast::<T>() };
        match shown.show(&mut SeqFile(seq)) {
            Ok(()) => 0,
            Err(_) => EINVAL.to_errno(),
        }
    }
}
