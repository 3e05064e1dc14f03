//! When and where this process runs (sched(7)).

use std::io;
use std::mem::{size_of_val, zeroed};

use super::{check, counted};

/// The one of ioprio_get(2) that says whose: a process's.
const OF_PROCESS: libc::c_int = 1;

/// Has this process run where another one may, no sooner than that one, and not in real time.
///
/// # Errors
/// From the kernel: there is no such process, for one.
pub fn take_scheduling_of(pid: i32) -> io::Result<()> {
    // More processors than Linux can have.
    let mut processors = [0u64; 256];
    let size = size_of_val(&processors);
    let processors = processors.as_mut_ptr().cast::<libc::cpu_set_t>();
    // SAFETY: the kernel reads and writes as many bytes as it is told. All zeroes is a valid value of the structure,
    // which lives through the calls. The raw calls take numbers; libc's would have -1 as a value and an error both.
    unsafe {
        counted(libc::syscall(libc::SYS_sched_getaffinity, pid, size, processors))?;
        check(libc::sched_setaffinity(0, size, processors).into())?;
        let usual: libc::sched_param = zeroed();
        let policy = libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK;
        if !matches!(policy, libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE) {
            check(libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const usual).into())?;
        }
        // Of disks: 0 is what goes by the other priority.
        if counted(libc::syscall(libc::SYS_ioprio_get, OF_PROCESS, 0))? >> 13 == 1 {
            check(libc::syscall(libc::SYS_ioprio_set, OF_PROCESS, 0, 0))?;
        }
        // 20 less what is asked for.
        let nice =
            |pid: i32| counted(libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, pid));
        let nice = 20 - nice(0)?.min(nice(pid)?);
        check(libc::setpriority(libc::PRIO_PROCESS, 0, nice as libc::c_int).into())
    }
}
