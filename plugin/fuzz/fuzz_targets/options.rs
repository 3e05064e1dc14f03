//! Any options, in any order, by any of the ways they come: srun's command line, the environment,
//! and the lists that travel to the node apart from Slurm's own.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use spank_pyxis::options::repeats::{LISTS, Repeats};
use spank_pyxis::options::{Options, Switch, Valued, table};
use std::ffi::CString;

const VALUED: [Valued; 7] = [
    Valued::Image,
    Valued::Mounts,
    Valued::Workdir,
    Valued::Name,
    Valued::Save,
    Valued::Env,
    Valued::Unshare,
];
const SWITCHES: [Switch; 5] = [
    Switch::MountHome,
    Switch::RemapRoot,
    Switch::Entrypoint,
    Switch::EntrypointLog,
    Switch::Writable,
];

fuzz_target!(|data: &[u8]| {
    let _ = run(&mut Unstructured::new(data));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let mut options = Options::default();
    let mut repeats = Repeats::default();
    while !input.is_empty() {
        let before = options.clone();
        let outcome = match input.int_in_range(0..=4)? {
            0 => {
                // 16 options; 16 and 17 are none of ours.
                let val = input.int_in_range(0..=17)?;
                let arg = argument(input)?;
                let arg = CString::new(arg).unwrap();
                let outcome = options.take(val, input.arbitrary::<bool>()?.then_some(&*arg));
                if let (Ok(()), Some(which)) = (&outcome, table::valued(val)) {
                    repeats.note(which, arg.to_bytes(), &|_| None);
                }
                outcome
            }
            1 => {
                let which = *input.choose(&VALUED)?;
                options.set(which, &argument(input)?)
            }
            2 => {
                let which = *input.choose(&SWITCHES)?;
                options.switch(which, input.arbitrary()?)
            }
            3 => {
                let (which, _) = *input.choose(&LISTS)?;
                options.replace(which, &argument(input)?)
            }
            _ => {
                let values: Vec<Vec<u8>> =
                    (0..3).map(|_| argument(input)).collect::<Result<_>>()?;
                let wrong = options.apply_defaults(&mut |name| {
                    // Some variables are there, some are not; the same one always says the same.
                    let sum = name.to_bytes().iter().map(|byte| usize::from(*byte)).sum::<usize>();
                    values.get(sum % 5).cloned()
                });
                wrong.into_iter().next().map_or(Ok(()), Err)
            }
        };
        match outcome {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(()) => {
                // What a user has said once stays said.
                assert!(before.image.is_none() || options.image == before.image);
                assert!(before.workdir.is_none() || options.workdir == before.workdir);
                assert!(before.name.is_none() || options.name == before.name);
                assert!(before.save.is_none() || options.save == before.save);
                assert!(before.remap_root.is_none() || options.remap_root == before.remap_root);
                assert!(before.writable.is_none() || options.writable == before.writable);
            }
        }
        check(&options);
    }
    repeats.hand_on(false, &|_| None, &mut |_, list| {
        assert!(list.contains(&b','), "two arguments at least");
    });
    Ok(())
}

/// What holds after whatever was given, accepted or not.
fn check(options: &Options) {
    use std::os::unix::ffi::OsStrExt;
    let ignored = options.ignored();
    assert!(ignored.is_empty() || !options.wants_container());
    assert!(options.image.as_ref().is_none_or(|image| !image.is_empty()));
    assert!(options.name.as_ref().is_none_or(|name| !name.name.is_empty()));
    assert!(options.env.iter().all(|name| !name.is_empty() && !name.as_bytes().contains(&b',')));
    for (index, mount) in options.mounts.iter().enumerate() {
        assert!(!mount.source.is_empty());
        assert!(matches!(mount.target.as_bytes(), [b'/' | b'.', ..]));
        assert!(!options.mounts[..index].contains(mount), "given twice, kept twice");
    }
}

/// No NUL: Slurm gives C strings. The words that mean something come up by themselves.
fn argument(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(0..=48)?;
    let bytes = input.bytes(length.min(input.len()))?;
    Ok(bytes.iter().copied().filter(|byte| *byte != 0).collect())
}
