// SPDX-License-Identifier: GPL-2.0

//! CPUs coming and going (`<linux/cpuhotplug.h>`).

use super::{bindings, cpumask::Cpu};
use core::marker::PhantomData;
use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_uint},
    prelude::*,
    str::CStr,
};

/// What to do when a CPU comes or goes.
///
/// The callbacks have no argument of their own: implementers find their state in a
/// [`Global`](super::module::Global).
pub(crate) trait Callbacks {
    /// `cpu` is about to come online. May sleep.
    fn prepare(cpu: Cpu) -> Result;
    /// `cpu` is gone, or never came. May sleep.
    fn dead(cpu: &GoneCpu);
}

/// A CPU on which nothing of ours runs.
///
/// # Invariants
///
/// It is offline, or the callbacks that it was made for are being removed.
pub(crate) struct GoneCpu(Cpu);

impl GoneCpu {
    /// Which it is.
    pub(crate) fn cpu(&self) -> Cpu {
        self.0
    }
}

/// What the C side calls.
type Callback = unsafe extern "C" fn(c_uint) -> c_int;

/// Keeps the callbacks of `T` registered.
///
/// # Invariants
///
/// `state` is a dynamic hotplug state that was set up with the callbacks of `T`.
pub(crate) struct Registration<T: Callbacks> {
    /// The state's number.
    state: bindings::cpuhp_state,
    /// Whose callbacks they are.
    _callbacks: PhantomData<T>,
}

impl<T: Callbacks> Registration<T> {
    /// Registers the callbacks, and calls `prepare` for every CPU that is online. May sleep.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let state = bindings::cpuhp_state_CPUHP_BP_PREPARE_DYN;
        let startup: Callback = Self::startup;
        let teardown: Callback = Self::teardown;
        let name = name.as_char_ptr();
        // SAFETY: The callbacks have the required signature and live as long as the module.
        let ret = unsafe {
            bindings::__cpuhp_setup_state(state, name, true, Some(startup), Some(teardown), false)
        };
        to_result(ret.min(0))?;
        // INVARIANT: set up, and `ret` is the dynamic state's number.
        Ok(Self {
            state: bindings::cpuhp_state::try_from(ret).map_err(|_| EINVAL)?,
            _callbacks: PhantomData,
        })
    }

    /// The C callback for a CPU that comes.
    ///
    /// # Safety
    ///
    /// `cpu` must be possible.
    unsafe extern "C" fn startup(cpu: c_uint) -> c_int {
        // SAFETY: The kernel calls this for possible CPUs.
        let cpu = unsafe { Cpu::from_raw(cpu) };
        from_result(|| T::prepare(cpu).map(|()| 0))
    }

    /// The C callback for a CPU that has gone.
    ///
    /// # Safety
    ///
    /// `cpu` must be possible.
    unsafe extern "C" fn teardown(cpu: c_uint) -> c_int {
        // SAFETY: The kernel calls this for possible CPUs.
        let cpu = unsafe { Cpu::from_raw(cpu) };
        // INVARIANT: the kernel calls this when it is one of these.
        T::dead(&GoneCpu(cpu));
        0
    }
}

impl<T: Callbacks> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Set up by `new`. Calls `dead` for every CPU that is online.
        unsafe { bindings::__cpuhp_remove_state(self.state, true) };
    }
}
