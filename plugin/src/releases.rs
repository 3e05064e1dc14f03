//! What Slurm's releases do differently with hooks and options (docs/releases.md), a test for each that the mock of Slurm can show.

use crate::hooks;
use crate::options::{Options, table};
use crate::state;
use spank_bindings::{mock, raw};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The plugin has one state in a process.
fn slurmstepd() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    mock::reset();
    assert_eq!(mock::call_hook(hooks::init, &[]), 0);
    alone
}

/// Where behaviour has to differ, a cfg decides; rustc knows all of their names (build.rs).
#[test]
fn the_cfgs_of_the_release_and_of_those_before_it_are_set() {
    let set =
        [cfg!(slurm_ge_20_11), cfg!(slurm_ge_22_05), cfg!(slurm_ge_24_11), cfg!(slurm_ge_26_05)];
    let built = ["20.11", "22.05", "24.11", "26.05"].map(|name| name <= spank_bindings::RELEASE);
    assert_eq!(set, built);
}

fn options() -> Options {
    state::with(|state| state.options.clone())
}

fn errors() -> Vec<String> {
    let lines = mock::take_lines().into_iter();
    lines.filter(|(level, _)| *level == mock::Level::Error).map(|(_, line)| line).collect()
}

/// Up to 23.11 twice on the node, for the launch message and for the job's environment.
#[test]
fn a_callback_may_come_once_or_twice() {
    let come = |times: usize| {
        let _alone = slurmstepd();
        let mut taken = 0;
        for spec in table::specs(|_, _, _| Ok(())) {
            let name = spec.name.to_str().unwrap();
            let value = match name {
                "container-unshare" => "net,ipc",
                "container-mounts" => "/a:/b,/c:/d:ro",
                "container-env" => "A,B",
                "container-name" => "x:create",
                _ => "/x",
            };
            // The opposite of one that is used.
            if name.starts_with("no-") || name == "container-readonly" {
                continue;
            }
            for _ in 0..times {
                assert_eq!(mock::use_option(name, Some(value), true), 0, "{name}");
            }
            taken += 1;
        }
        assert_eq!(taken, 12);
        assert_eq!(errors(), [""; 0]);
        options()
    };
    let once = come(1);
    assert!(once.image.is_some() && once.mounts.len() == 2 && once.env.len() == 2);
    assert_eq!(once, come(2));
}

/// srun 22.05 exits with 0 when a hook before the tasks fails; from 24.11 on it may drain the node.
#[test]
fn what_goes_wrong_before_the_tasks_is_theirs_to_say() {
    let ends = |begin: &dyn Fn()| {
        let _alone = slurmstepd();
        begin();
        assert_eq!(mock::call_hook(hooks::init_post_opt, &[]), 0);
        assert_eq!(mock::call_hook(hooks::user_init, &[]), 0);
        mock::take_lines();
        // Each task is a copy of slurmstepd as it was.
        assert_eq!(mock::call_hook(hooks::task_init, &[]), -1);
        errors().join("\n")
    };
    // Refused on the node, which Slurm only logs.
    let line = ends(&|| {
        assert_ne!(mock::use_option("container-mounts", Some("/a:b:c:d"), true), 0);
        assert_eq!(mock::use_option("container-image", Some("/x.sqsh"), true), 0);
    });
    assert!(line.contains("--container-mounts"), "{line}");
    // Nothing of the job can be read.
    let line = ends(&|| {
        assert_eq!(mock::use_option("container-image", Some("/x.sqsh"), true), 0);
    });
    assert!(!line.is_empty());
    // A default of the job's environment.
    let line = ends(&|| {
        mock::with(|slurm| slurm.env.insert("PYXIS_CONTAINER_NAME".into(), ":create".into()));
    });
    assert!(line.contains("container-name: empty name"), "{line}");
}

/// A default stops nobody who wants no container.
#[test]
fn a_bad_or_empty_default_does_not_stop_a_step_without_a_container() {
    let _alone = slurmstepd();
    mock::with(|slurm| {
        slurm.env.insert("PYXIS_CONTAINER_IMAGE".into(), String::new());
        slurm.env.insert("PYXIS_CONTAINER_WORKDIR".into(), String::new());
        slurm.env.insert("PYXIS_CONTAINER_MOUNTS".into(), "nonsense".into());
    });
    assert_eq!(mock::call_hook(hooks::init_post_opt, &[]), 0);
    assert_eq!(mock::call_hook(hooks::task_init, &[]), 0);
    assert_eq!(errors(), [""; 0]);
}

/// `--export=NONE`: of srun's environment the node gets what begins with SLURM, and the program
/// does not see it.
#[test]
fn defaults_that_srun_hands_on_count_and_the_jobs_own_come_first() {
    let _alone = slurmstepd();
    mock::with(|slurm| {
        slurm.env.insert("SLURM_PYXIS_CONTAINER_IMAGE".into(), "/srun.sqsh".into());
        slurm.env.insert("SLURM_PYXIS_CONTAINER_WORKDIR".into(), "/srun".into());
        slurm.env.insert("PYXIS_CONTAINER_WORKDIR".into(), "/job".into());
    });
    assert_eq!(mock::call_hook(hooks::init_post_opt, &[]), 0);
    let options = options();
    assert_eq!(options.image, Some("/srun.sqsh".into()));
    assert_eq!(options.workdir, Some("/job".into()));
    assert!(mock::with(|slurm| !slurm.env.keys().any(|name| name.starts_with("SLURM_PYXIS"))));
}

/// Up to 24.11 a positive value is forgotten, since 25.05 it is an error: neither is ever returned.
#[test]
fn hooks_return_0_or_minus_1() {
    let _alone = slurmstepd();
    // A step without a container.
    assert_eq!(mock::call_hook(hooks::init_post_opt, &[]), 0);
    assert_eq!(mock::call_hook(hooks::user_init, &[]), 0);
    assert_eq!(mock::call_hook(hooks::task_init, &[]), 0);
    assert_eq!(mock::call_hook(hooks::task_exit, &[]), 0);
    assert_eq!(mock::call_hook(hooks::exit, &[]), 0);
    for context in [raw::S_CTX_LOCAL, raw::S_CTX_ALLOCATOR] {
        mock::with(|slurm| slurm.context = context);
        assert_eq!(mock::call_hook(hooks::init, &["no_such=key"]), -1);
    }
}

/// slurmd ends where `init` fails; a node is drained where an epilog does, or `init` in slurmstepd.
#[test]
fn what_is_wrong_with_the_line_or_the_places_never_costs_a_node() {
    let _alone = slurmstepd();
    mock::with(|slurm| slurm.context = raw::S_CTX_JOB_SCRIPT);
    // The epilog is a process of its own, without `init` and without the state of the job.
    assert_eq!(mock::call_hook(hooks::job_epilog, &["container_scope=global"]), 0);
    assert_eq!(errors(), [""; 0]);
    for arguments in [&["container_scope=job"], &["no_such=key"]] {
        assert_eq!(mock::call_hook(hooks::job_epilog, arguments), 0);
        assert_eq!(errors().len(), 1, "{arguments:?}");
    }
    mock::with(|slurm| slurm.context = raw::S_CTX_SLURMD);
    for argument in ["no_such=key", "container_scope=user", "runtime_path=relative"] {
        assert_eq!(mock::call_hook(hooks::init, &[argument]), 0);
        let lines = errors();
        assert!(matches!(&lines[..], [line] if line.contains("(in plugstack.conf)")), "{lines:?}");
    }
}

/// Whoever wants no container has nothing to do with what is wrong.
#[test]
fn a_wrong_line_on_a_node_costs_containers_only() {
    let _alone = slurmstepd();
    for (image, expected) in [(None, 0), (Some("/x.sqsh"), -1)] {
        assert_eq!(mock::call_hook(hooks::init, &["expose_enroot_logs"]), 0);
        if let Some(image) = image {
            assert_eq!(mock::use_option("container-image", Some(image), true), 0);
        }
        assert_eq!(mock::call_hook(hooks::init_post_opt, &[]), 0);
        assert_eq!(mock::call_hook(hooks::user_init, &[]), 0);
        assert_eq!(mock::call_hook(hooks::task_init, &[]), expected);
        let lines = errors();
        let said = lines
            .iter()
            .any(|line| line.contains("unknown configuration option: expose_enroot_logs"));
        assert_eq!(said, image.is_some(), "{lines:?}");
    }
}
