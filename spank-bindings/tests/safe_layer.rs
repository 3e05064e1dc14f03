//! The safe layer on the stand-in for Slurm.

use spank_bindings::mock::{self, Item, Level};
use spank_bindings::{Args, Context, ErrorKind, HasArg, OptionSpec, Spank, StepId, context};
use spank_bindings::{log, raw};
use std::ffi::{CStr, CString};

fn item(item: raw::spank_item_t, answer: Item) {
    mock::with(|slurm| slurm.items.insert(item, answer));
}

fn errors() -> Vec<String> {
    let lines = mock::take_lines().into_iter();
    lines.filter(|(level, _)| *level == Level::Error).map(|(_, line)| line).collect()
}

#[test]
fn context_is_the_program() {
    for (code, expected) in [
        (raw::S_CTX_LOCAL, Context::Local),
        (raw::S_CTX_REMOTE, Context::Remote),
        (raw::S_CTX_ALLOCATOR, Context::Allocator),
        (raw::S_CTX_SLURMD, Context::Slurmd),
        (raw::S_CTX_JOB_SCRIPT, Context::JobScript),
        (77, Context::Error),
    ] {
        mock::with(|slurm| slurm.context = code);
        assert_eq!(context(), expected);
    }
}

#[test]
fn items_of_every_kind() {
    let spank = mock::handle();
    item(raw::S_JOB_UID, Item::Number(4_000_000_000));
    item(raw::S_JOB_STEPID, Item::Number(0xffff_fffb));
    item(raw::S_STEP_ALLOC_MEM, Item::Number(1 << 40));
    item(raw::S_JOB_ARGV, Item::Strings(vec!["cat".into(), "/etc/os-release".into()]));
    item(raw::S_JOB_ENV, Item::Strings(vec!["A=1".into()]));
    item(raw::S_JOB_SUPPLEMENTARY_GIDS, Item::Gids(vec![4, 24]));
    assert_eq!(spank.job_uid(), Ok(4_000_000_000));
    assert_eq!(spank.job_step_id(), Ok(StepId::BATCH));
    assert_eq!(StepId::BATCH.to_string(), "4294967291");
    assert_eq!(spank.step_alloc_mem(), Ok(1 << 40));
    assert_eq!(spank.job_argv().unwrap(), [c"cat".into(), CString::from(c"/etc/os-release")]);
    assert_eq!(spank.job_env().unwrap(), [CString::from(c"A=1")]);
    assert_eq!(spank.job_supplementary_gids().unwrap(), [4, 24]);
    assert_eq!(
        spank.job_id().unwrap_err().to_string(),
        "spank_get_item(S_JOB_ID): not available from this hook"
    );
}

#[test]
fn slurms_refusal_of_any_item_is_handed_on() {
    let spank = mock::handle();
    (0..32).for_each(|i| item(i, Item::Fails(raw::ESPANK_NOT_TASK)));
    let kinds = [
        spank.job_uid().map(drop),
        spank.job_gid().map(drop),
        spank.job_id().map(drop),
        spank.job_step_id().map(drop),
        spank.job_local_task_count().map(drop),
        spank.job_total_task_count().map(drop),
        spank.job_argv().map(drop),
        spank.job_env().map(drop),
        spank.job_supplementary_gids().map(drop),
        spank.step_alloc_mem().map(drop),
    ]
    .map(|result| result.unwrap_err().kind());
    assert_eq!(kinds, [ErrorKind::NotTask; 10]);
}

#[test]
fn getenv_takes_values_of_any_length() {
    let spank = mock::handle();
    for length in [0, 1, 1022, 1023, 1024, 1025, 2047, 2048, 100_000, 3_000_000] {
        mock::with(|slurm| slurm.env.insert("X".into(), "v".repeat(length)));
        assert_eq!(spank.getenv(c"X").unwrap().unwrap().to_bytes().len(), length);
    }
    assert_eq!(spank.getenv(c"Y"), Ok(None));
}

#[test]
fn setenv_says_whether_it_did() {
    let spank = mock::handle();
    assert_eq!(spank.setenv(c"A", c"1", false), Ok(true));
    assert_eq!(spank.setenv(c"A", c"2", false), Ok(false));
    assert_eq!(spank.getenv(c"A"), Ok(Some(c"1".into())));
    assert_eq!(spank.setenv(c"A", c"3", true), Ok(true));
    assert_eq!(spank.getenv(c"A"), Ok(Some(c"3".into())));
    assert_eq!(spank.unsetenv(c"A"), Ok(()));
    assert_eq!(spank.unsetenv(c"A"), Ok(()));
    assert_eq!(spank.getenv(c"A"), Ok(None));
}

#[test]
fn the_jobs_environment_is_slurmstepds() {
    let spank = mock::handle();
    mock::with(|slurm| slurm.context = raw::S_CTX_LOCAL);
    assert_eq!(spank.getenv(c"A").unwrap_err().kind(), ErrorKind::NotRemote);
}

#[test]
fn a_text_is_one_call_one_line_and_no_format() {
    log::error!("100%s {}\nsecond\0part", 1);
    log::error!("{}", "\x1b]0;x\x07\r\x7f\u{80}\u{9b}2J\t\u{a0}é\\");
    log::info!("i");
    log::verbose!("v");
    log::debug!("d");
    log::spank_log!("{}", "to the user\n");
    let expected = [
        (Level::Error, r"100%s 1\nsecond\u{0}part"),
        (Level::Error, "\\u{1b}]0;x\\u{7}\\r\\u{7f}\\u{80}\\u{9b}2J\\t\u{a0}é\\"),
        (Level::Info, "i"),
        (Level::Verbose, "v"),
        (Level::Debug, "d"),
        (Level::SpankLog, "to the user"),
    ];
    let expected = expected.map(|(level, line)| (level, line.to_owned()));
    assert_eq!(mock::take_lines(), expected);
}

fn option(val: i32, arg: Option<&CStr>, remote: bool) -> Result<(), String> {
    match arg.map(|a| a.to_str().unwrap()) {
        Some("panic") => panic!("no good"),
        Some("wrong") => Err("wrong value\nfor it".into()),
        arg => {
            log::debug!("{val} {arg:?} {remote}");
            Ok(())
        }
    }
}

static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: c"plain",
        arginfo: None,
        usage: c"[p] a flag",
        has_arg: HasArg::No,
        val: 40,
        callback: option,
    },
    OptionSpec {
        name: c"valued",
        arginfo: Some(c"VALUE"),
        usage: c"[p] a value",
        has_arg: HasArg::Required,
        val: 41,
        callback: option,
    },
];

#[test]
fn options_reach_their_callbacks() {
    let spank = mock::handle();
    spank.register_options(OPTIONS).unwrap();
    let shown = mock::with(|slurm| slurm.options.clone());
    assert_eq!((shown[1].name.as_str(), shown[1].has_arg), ("valued", 1));
    assert_eq!(shown[1].arginfo.as_deref(), Some("VALUE"));
    assert_eq!(shown[0].arginfo, None);

    assert_eq!(mock::use_option("plain", None, false), 0);
    assert_eq!(mock::use_option("valued", Some("x"), true), 0);
    let lines = mock::take_lines();
    assert_eq!(lines[0].1, "40 None false");
    assert_eq!(lines[1].1, "41 Some(\"x\") true");

    assert_eq!(mock::use_option("valued", Some("wrong"), true), -1);
    assert_eq!(mock::use_option("valued", Some("panic"), true), -1);
    let errors = errors();
    assert!(errors[0].ends_with(": wrong value; for it"), "{errors:?}");
    assert!(errors[1].contains("option: internal error: no good at"), "{errors:?}");
    assert_eq!(errors.len(), 2);
}

#[test]
fn a_hook_that_fails_or_panics_is_one_error_line() {
    let hook = |_: &Spank<'_>, args: Args<'_>| match args.iter().next().map(CStr::to_bytes) {
        Some(b"panic") => panic!("slipped on {}", 3),
        Some(_) => Err("no such thing"),
        None => Ok(()),
    };
    assert_eq!(mock::call_hook(hook, &[]), 0);
    assert_eq!(mock::call_hook(hook, &["x", "y"]), -1);
    assert_eq!(mock::call_hook(hook, &["panic"]), -1);
    let errors = errors();
    assert_eq!(errors[0], "pyxis: no such thing");
    let place = "pyxis: hook: internal error: slipped on 3 at spank-bindings/tests/safe_layer.rs:";
    assert!(errors[1].starts_with(place), "{errors:?}");
    assert_eq!(errors.len(), 2);
}

#[test]
fn a_panic_below_catch_is_text() {
    let caught = spank_bindings::export::catch(|| -> u8 { std::panic::panic_any(5_u8) });
    assert!(caught.unwrap_err().starts_with("panic at "));
    assert_eq!(spank_bindings::export::catch(|| 5), Ok(5));
}

#[test]
fn arguments_are_those_of_the_line() {
    let hook = |_: &Spank<'_>, args: Args<'_>| {
        let all: Vec<&CStr> = args.iter().collect();
        if all == [c"a=b", c""] { Ok(()) } else { Err(format!("{args:?}")) }
    };
    assert_eq!(mock::call_hook(hook, &["a=b", ""]), 0, "{:?}", errors());
}

#[cfg(slurm_ge_23_11)]
#[test]
fn a_command_in_front_of_the_task() {
    mock::handle().prepend_task_argv(&[c"wrap", c"--"]).unwrap();
    assert_eq!(mock::with(|slurm| slurm.prepended.clone()), ["wrap", "--"]);
}
