use super::table::names;
use super::*;
use proptest::prelude::*;
use std::ffi::{CStr, CString};

fn with(which: Valued, value: &str) -> Result<Options, OptionError> {
    let mut options = Options::default();
    options.set(which, value.as_bytes()).map(|()| options)
}

fn error(which: Valued, value: &str) -> String {
    with(which, value).unwrap_err().to_string()
}

fn mount(source: &str, target: &str, flags: &str) -> Mount {
    Mount { source: source.into(), target: target.into(), flags: flags.into() }
}

#[test]
fn mounts_get_their_defaults() {
    let rows = [
        ("/a", mount("/a", "/a", "x-create=auto,rbind")),
        ("./a:/b", mount("./a", "/b", "x-create=auto,rbind")),
        ("/a:/b:", mount("/a", "/b", "x-create=auto,rbind")),
        ("/a:/b:ro+rprivate", mount("/a", "/b", "x-create=auto,rbind,ro,rprivate")),
        ("tmpfs:/b:size=1g", mount("tmpfs", "/b", "x-create=dir,size=1g")),
        ("umount:/b", mount("umount", "/b", "x-detach")),
        ("/a:/b:mode=1:2", mount("/a", "/b", "x-create=auto,rbind,mode=1:2")),
    ];
    for (text, expected) in rows {
        assert_eq!(with(Valued::Mounts, text).unwrap().mounts, [expected], "{text}");
    }
}

#[test]
fn colons_and_commas_of_names_follow_a_backslash() {
    let options =
        with(Valued::Mounts, r"./a\:b:/x,./c\,d:/e\:f\,g:ro,/h\i,./j\:k,/l\:/m\,/n\").unwrap();
    let expected = [
        mount("./a:b", "/x", "x-create=auto,rbind"),
        mount("./c,d", "/e:f,g", "x-create=auto,rbind,ro"),
        mount(r"/h\i", r"/h\i", "x-create=auto,rbind"),
        mount("./j:k", "./j:k", "x-create=auto,rbind"),
        // Behind these begins a path.
        mount(r"/l\", r"/m\", "x-create=auto,rbind"),
        mount(r"/n\", r"/n\", "x-create=auto,rbind"),
    ];
    assert_eq!(options.mounts, expected);
}

#[test]
fn the_long_form_means_what_the_short_one_does() {
    let text = [
        "/a:/b",
        "type=bind,src=/c,dst=/d",
        r"type=bind,source=./e\,f,target=/g,readonly",
        "/h",
        "dst=/i,type=tmpfs,tmpfs-size=1g,tmpfs-mode=700",
        "tmpfs:/j",
        "src=/k,destination=/l,bind-propagation=rslave,ro=true",
        ".",
        "type=squashfs,src=/m:n.sqsh,dst=/o",
        "type=bind,src=/p,dst=/q,readonly=false,consistency=cached",
        "type=bind,src=/r,dst=/s,readonly=1",
    ];
    let expected = [
        mount("/a", "/b", "x-create=auto,rbind"),
        mount("/c", "/d", "x-create=auto,rbind"),
        mount("./e,f", "/g", "x-create=auto,rbind,ro"),
        mount("/h", "/h", "x-create=auto,rbind"),
        mount("tmpfs", "/i", "x-create=dir,size=1g,mode=700"),
        mount("tmpfs", "/j", "x-create=dir"),
        mount("/k", "/l", "x-create=auto,rbind,rslave,ro"),
        mount(".", ".", "x-create=auto,rbind"),
        mount("/m:n.sqsh", "/o", "x-create=auto,rbind,sqsh"),
        mount("/p", "/q", "x-create=auto,rbind,rw,x-cached"),
        mount("/r", "/s", "x-create=auto,rbind,ro"),
    ];
    assert_eq!(with(Valued::Mounts, &text.join(",")).unwrap().mounts, expected);
}

#[test]
fn mounts_add_up_without_duplicates() {
    let mut options = with(Valued::Mounts, "/a:/b,/c:/d,/a:/b").unwrap();
    options.set(Valued::Mounts, b"/a:/b").unwrap();
    options.set(Valued::Mounts, b"/a:/b:ro").unwrap();
    assert_eq!(options.mounts.len(), 3);
}

/// As shells make one of several lines: a backslash takes the line's end away, and not the blanks behind it.
#[test]
fn a_list_of_mounts_may_go_over_several_lines() {
    let plain = with(Valued::Mounts, "/a:/b,tmpfs:/t,type=bind,src=/c,dst=/d,/e:/f:ro").unwrap();
    let lines =
        with(Valued::Mounts, "  /a:/b,    tmpfs:/t,\n\ttype=bind,src=/c,dst=/d,\r\n /e:/f:ro");
    assert_eq!(lines.unwrap().mounts, plain.mounts);
    // A blank at the end is of a name.
    assert_eq!(with(Valued::Mounts, "/a:/b ,/c:/d").unwrap().mounts[0].target, "/b ");
    assert!(error(Valued::Mounts, "/a:/b, ").contains("invalid format"));
}

#[test]
fn each_bad_value_has_its_line() {
    for which in [
        Valued::Image,
        Valued::Mounts,
        Valued::Workdir,
        Valued::Name,
        Valued::Save,
        Valued::Env,
        Valued::Unshare,
    ] {
        assert_eq!(error(which, ""), format!("--{}: argument required", which.option()));
    }
    let rows = [
        (Valued::Mounts, ":/b", "invalid format"),
        (Valued::Mounts, "/a::ro", "invalid format"),
        (Valued::Mounts, "/a:/b,", "invalid format"),
        (Valued::Mounts, "type=bind,src=/a", "invalid format: type=bind,src=/a ("),
        (Valued::Mounts, "type=bind,dst=/a", "invalid format"),
        (Valued::Mounts, "type=bind,src=data,dst=/a", "invalid format"),
        (Valued::Mounts, "type=bind,src=tmpfs,dst=/a", "invalid format"),
        (Valued::Mounts, "type=volume,src=/a,dst=/b", "invalid format"),
        (Valued::Mounts, "type=bind,src=/a,dst=/b,", "invalid format"),
        (Valued::Mounts, "type=bind,src=/a,dst=/b,ro=perhaps", "mount source must be"),
        (Valued::Mounts, "type=bind,src=/a,dst=/b,rox", "mount source must be"),
        (Valued::Mounts, "type=bind,src=/a,dst=/b,volume-driver=x", "mount source must be"),
        (Valued::Mounts, "type=bind,src=/a,dst=b", "mount target must be"),
        (Valued::Mounts, "a:/b", "mount source must be"),
        (Valued::Mounts, "~/x:/b", "write the path"),
        (Valued::Mounts, "/a:/b,$HOME:/c", "write the path"),
        (Valued::Mounts, "/a:/b:ro,rslave", "flags are joined by \"+\""),
        (Valued::Mounts, "/a:/b:rw,Z", "flags are joined by \"+\""),
        (Valued::Mounts, "tmpfs", "mount target must be"),
        (Valued::Mounts, "/a:b", "mount target must be"),
        (Valued::Mounts, "/a:/b:ro foo", "invalid flags"),
        (Valued::Mounts, "/a:/b:ro+\u{2003}", "invalid flags"),
        (Valued::Name, "../x", "invalid name"),
        (Valued::Name, ":create", "empty name"),
        (Valued::Name, "x:never", "flag must be"),
        (Valued::Save, "/a/", "target is a directory"),
        (Valued::Env, "A,,B", "invalid format: A,,B"),
        (Valued::Env, "B, A=1", "invalid format: B, A (names alone"),
        (Valued::Env, "=", "names alone"),
        (Valued::Unshare, "net,", "empty namespace"),
        (Valued::Unshare, "pid", "unknown namespace 'pid'"),
    ];
    for (which, value, expected) in rows {
        let line = error(which, value);
        assert!(line.contains(expected) && !line.contains('\n'), "{value}: {line}");
    }
}

/// It stays in logs.
#[test]
fn the_value_of_a_variable_is_not_shown() {
    for list in ["TOKEN=secret", "A,,TOKEN=secret", ",TOKEN=secret,", "TOKEN=secret,B=secret"] {
        let line = error(Valued::Env, list);
        assert!(!line.contains("secret"), "{line}");
    }
}

#[test]
fn blanks_around_a_name_are_none_of_it() {
    let names = with(Valued::Env, "A, B ,\n C").unwrap().env;
    assert_eq!(names, ["A", "B", "C"]);
    assert!(error(Valued::Env, "A, ,B").contains("invalid format"));
}

/// Flags that the runtime could not read would have been left out, and the mount been writable.
#[test]
fn broken_text_in_mount_flags_is_refused() {
    let mut options = Options::default();
    assert!(options.set(Valued::Mounts, b"/a:/b:ro+\xff").is_err());
}

#[test]
fn names_have_flags() {
    let flags = [
        ("x", NameFlag::Auto),
        ("x:", NameFlag::Auto),
        ("x:auto", NameFlag::Auto),
        ("x:create", NameFlag::Create),
        ("x:exec", NameFlag::Exec),
        ("x:no_exec", NameFlag::NoExec),
    ];
    for (text, flag) in flags {
        let name = with(Valued::Name, text).unwrap().name;
        assert_eq!(name, Some(Name { name: "x".to_owned(), flag }), "{text}");
    }
}

#[test]
fn the_same_value_again_is_fine_and_another_is_not() {
    for (which, same, other) in [
        (Valued::Image, "a", "b"),
        (Valued::Workdir, "/a", "/b"),
        (Valued::Name, "a:create", "a"),
        (Valued::Save, "/a", "/b"),
    ] {
        let mut options = with(which, same).unwrap();
        options.set(which, same.as_bytes()).unwrap();
        let line = options.set(which, other.as_bytes()).unwrap_err().to_string();
        assert_eq!(line, format!("--{} specified multiple times", which.option()));
    }
}

#[test]
fn an_option_and_its_opposite_are_refused() {
    for which in [Switch::MountHome, Switch::RemapRoot, Switch::Entrypoint, Switch::Writable] {
        for first in [true, false] {
            let mut options = Options::default();
            options.switch(which, first).unwrap();
            options.switch(which, first).unwrap();
            let line = options.switch(which, !first).unwrap_err().to_string();
            assert!(line.starts_with("both --") && line.ends_with("were specified"), "{line}");
        }
    }
}

#[test]
fn every_option_without_a_container_is_reported() {
    let mut options = Options::default();
    for (val, name, has_arg) in names() {
        if name.starts_with("no-") || name == "container-readonly" {
            continue;
        }
        let value = match name {
            "container-image" | "container-name" => continue,
            "container-unshare" => c"net",
            _ => c"/a",
        };
        options.take(val, has_arg.then_some(value)).unwrap();
    }
    let lines = options.ignored();
    assert_eq!(lines.len(), 10, "{lines:#?}");
    options.set(Valued::Image, b"x").unwrap();
    assert!(options.ignored().is_empty());
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let mut environment = |name: &CStr| match name.to_bytes() {
        b"PYXIS_CONTAINER_IMAGE" => Some(b"env".to_vec()),
        b"PYXIS_CONTAINER_WORKDIR" => Some(b"/env".to_vec()),
        b"PYXIS_CONTAINER_SAVE" => Some(Vec::new()),
        b"PYXIS_CONTAINER_MOUNTS" => Some(b"/env".to_vec()),
        b"PYXIS_CONTAINER_WRITABLE" => Some(b"maybe".to_vec()),
        b"PYXIS_CONTAINER_READONLY" => Some(b"yes".to_vec()),
        b"PYXIS_CONTAINER_REMAP_ROOT" => Some(b"1".to_vec()),
        _ => None,
    };
    let mut options = Options::default();
    options.set(Valued::Image, b"cli").unwrap();
    options.switch(Switch::RemapRoot, false).unwrap();
    assert_eq!(options.apply_defaults(&mut environment), []);
    assert_eq!(options.save, None, "an empty variable is none");
    assert_eq!(options.image, Some("cli".into()));
    assert_eq!(options.workdir, Some("/env".into()));
    assert_eq!(options.mounts.len(), 1);
    assert_eq!(options.writable, Some(false), "an unknown word says nothing");
    assert_eq!(options.remap_root, Some(false));
}

#[test]
fn a_bad_default_is_an_error() {
    let mut options = Options::default();
    let mut environment = |name: &CStr| match name.to_bytes() {
        b"PYXIS_CONTAINER_MOUNTS" => Some(b"nonsense".to_vec()),
        b"PYXIS_CONTAINER_NAME" => Some(b":create".to_vec()),
        b"PYXIS_CONTAINER_WORKDIR" => Some(b"/env".to_vec()),
        _ => None,
    };
    let wrong = options.apply_defaults(&mut environment);
    let of_name: Vec<bool> = wrong.iter().map(OptionError::is_of_name).collect();
    assert_eq!(of_name, [false, true], "{wrong:?}");
    assert_eq!(options.workdir, Some("/env".into()), "the others are taken");
}

#[test]
fn white_space_is_escaped_for_fstab() {
    let options = with(Valued::Mounts, "/a b\\c:/d\te:ro").unwrap();
    assert_eq!(options.mounts[0].fstab_line(), "/a\\040b\\134c /d\\011e x-create=auto,rbind,ro");
}

proptest! {
    /// Any options in any order: no panic, one line per error, and what was taken stays taken.
    #[test]
    fn no_option_string_crashes(
        given in prop::collection::vec((0i32..18, prop::collection::vec(1u8..=255, 0..40)), 0..8),
    ) {
        let mut options = Options::default();
        for (val, bytes) in given {
            let arg = CString::new(bytes).unwrap();
            let before = options.clone();
            if let Err(error) = options.take(val, Some(&arg)) {
                prop_assert!(!error.to_string().is_empty());
            } else {
                prop_assert!(options.mounts.len() >= before.mounts.len());
                prop_assert!(before.image.is_none() || options.image == before.image);
            }
        }
        let _ = options.ignored();
    }

    /// What a mount line says is what comes out, for any paths.
    #[test]
    // Behind a backslash, flags are of the name.
    fn mount_fields_survive(source in "/[^:,\0]{0,20}", target in r"/([^:,\x00]{0,19}[^:,\x00\\])?") {
        let options = with(Valued::Mounts, &format!("{source}:{target}:ro")).unwrap();
        prop_assert_eq!(&options.mounts[0].source, source.as_str());
        prop_assert_eq!(&options.mounts[0].target, target.as_str());
    }

    /// Taking a list twice changes nothing.
    #[test]
    fn lists_are_idempotent(list in "[A-C](,[A-C]){0,6}") {
        let mut options = with(Valued::Env, &list).unwrap();
        let once = options.clone();
        options.set(Valued::Env, list.as_bytes()).unwrap();
        prop_assert_eq!(options, once);
    }
}
