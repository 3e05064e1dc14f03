//! What hooks and configuration scripts of a site's own find, as enroot has it.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Place;

fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn hook(place: &Place, text: &str) {
    executable(&place.path("home/.config/enroot/hooks.d/10.sh"), text);
}

fn conf(place: &Place, text: &str) {
    fs::write(place.path("work/conf"), text).unwrap();
}

/// An image, and a named container of it.
fn place() -> Place {
    let place = Place::new();
    place.image("image", |_| {});
    place.ok(&["create", "-n", "c", "image.sqsh"]);
    place
}

#[test]
fn a_configuration_script_says_what_the_command_exits_with() {
    let place = place();
    for (script, code) in [
        ("environ() { return 3; }", 3),
        ("hooks() { return 5; }", 5),
        ("exit 4", 4),
        ("false", 1),
        ("kill -9 $$", 137),
        // One that cannot be read, and one that ends before it is followed.
        ("environ() {", 1),
        ("exit 0", 1),
    ] {
        conf(&place, script);
        let words = place.run(&["start", "-c", "conf", "c", "true"]).fails(code);
        assert!(words.contains("configuration script "), "{script}: {words}");
    }
}

/// What its functions print is what they say; the script's own is the caller's to read.
#[test]
fn a_configuration_script_has_the_commands_words_and_its_output() {
    let place = place();
    conf(
        &place,
        "echo \"top $# [$*] ${0##*/}\"\nenviron() { echo \"FROM=$#\"; }\nhooks() { echo nobody; }\n",
    );
    let start = |words: &[&str]| place.ok(&[&["start", "-c", "conf", "c"], words].concat());
    assert_eq!(start(&["echo", "a b"]), "top 2 [echo a b] conf\na b\n");
    assert_eq!(start(&["sh", "-c", "echo $FROM"]), "top 3 [sh -c echo $FROM] conf\n0\n");
    conf(&place, "#ENROOT_ROOTFS=c\necho \"top $#\"\n");
    assert_eq!(place.ok(&["batch", "conf", "echo", "x"]), "top 2\nx\n");
}

#[test]
fn the_root_that_hooks_see_is_called_as_the_container() {
    let place = place();
    place.ok(&["create", "-n", "lib", "image.sqsh"]);
    let name = "\"${ENROOT_ROOTFS##*/}\"";
    hook(
        &place,
        &format!(
            "test -x $ENROOT_ROOTFS/bin/busybox\nprintf 'HOOK=%s\\n' {name} >> $ENROOT_ENVIRON\n"
        ),
    );
    conf(&place, &format!("environ() {{ printf 'CONF=%s\\n' {name}; }}\n"));
    let words = ["sh", "-c", "echo $HOOK $CONF"];
    for (container, called) in [("c", "c"), ("lib", "lib"), ("./image.sqsh", "overlay")] {
        let said = place.ok(&[&["start", "-c", "conf", container], &words[..]].concat());
        assert_eq!(said, format!("{called} {called}\n"));
    }
}

/// As enroot has it since it has the options.
#[test]
fn hooks_see_which_namespaces_are_asked_for() {
    let place = place();
    let all = ["PID", "NET", "IPC", "UTS"].map(|name| format!("${{ENROOT_UNSHARE_{name}-}}"));
    hook(&place, &format!("echo \"SEEN={}\" >> $ENROOT_ENVIRON\n", all.join(",")));
    let show = ["c", "sh", "-c", "echo $SEEN"];
    assert_eq!(place.ok(&[&["start", "--net", "--uts"], &show[..]].concat()), ",y,,y\n");
    assert_eq!(place.ok(&[&["start"], &show[..]].concat()), ",,,\n");
}

#[test]
fn lists_of_variables_have_the_places_that_hooks_have() {
    let place = place();
    let folder = place.path("home/.config/enroot/environ.d");
    fs::create_dir_all(&folder).unwrap();
    let list = "N=${ENROOT_ROOTFS}\nE=${ENROOT_ENVIRON}\nM=${ENROOT_MOUNTS}\nP=${ENROOT_PID}\n";
    fs::write(folder.join("1.env"), list).unwrap();
    let words = ["start", "c", "sh", "-c", "echo $N $E $M; echo $P $HOOKED"];
    let run = place.path("run");
    let at = |run: &Path| {
        let run = run.display();
        format!("{run}/rootfs/c {run}/environment {run}/fstab\n")
    };
    // Where they would see the container, if there were any.
    let said = place.ok(&words);
    let pid = said.strip_prefix(&at(&run)).unwrap_or_else(|| panic!("{said}"));
    assert!(pid.trim().parse::<u32>().is_ok(), "{said}");

    let same = "for line in N=$ENROOT_ROOTFS E=$ENROOT_ENVIRON M=$ENROOT_MOUNTS P=$ENROOT_PID; do\n\
                grep -qxF \"$line\" $ENROOT_ENVIRON || exit 7\ndone\necho HOOKED=yes >> $ENROOT_ENVIRON\n";
    hook(&place, same);
    let said = place.ok(&words);
    assert!(said.starts_with(&at(&run)) && said.ends_with(" yes\n"), "{said}");
    // Also where nobody has made a place for them.
    let mut command = place.pyxis(words);
    command.env_remove("ENROOT_RUNTIME_PATH").env("XDG_RUNTIME_DIR", "/proc/none");
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(!said.starts_with("/proc/") && said.ends_with(" yes\n"), "{done:?}");
}

#[test]
fn a_target_below_the_containers_root_is_one_of_the_container() {
    let place = place();
    let folder = place.path("home/.config/enroot/mounts.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(place.path("home/file"), "text\n").unwrap();
    let list = "${HOME}/file ${ENROOT_ROOTFS}/mnt/f none x-create=file,bind\n";
    fs::write(folder.join("1.fstab"), list).unwrap();
    assert_eq!(place.ok(&["start", "c", "cat", "/mnt/f"]), "text\n");
}

/// Runs bash with our `common.sh`, in the directory that the place's user works in.
fn with_functions(place: &Place, script: &str) -> std::process::Output {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../containers/src/start/environment");
    let script = format!("set -euo pipefail; source {library}/common.sh\n{script}");
    let mut command = std::process::Command::new("bash");
    command.args(["--norc", "-c", &script]).current_dir(place.path("work"));
    command.env("PATH", format!("{}:/usr/bin:/bin", place.path("few").display()));
    command.env("ENROOT_TEMP_PATH", place.path("work")).env("NAME", "${x} &").output().unwrap()
}

#[track_caller]
fn prints(place: &Place, script: &str, expected: &str) {
    let done = with_functions(place, script);
    let said = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!((&*said.0, &*said.1), (expected, ""), "{script}: {:?}", done.status);
    assert!(done.status.success(), "{script}: {done:?}");
}

#[track_caller]
fn ends(place: &Place, script: &str, words: &str) {
    let done = with_functions(place, &format!("{script}\necho went on"));
    assert_eq!((done.status.code(), &*done.stdout), (Some(1), &b""[..]), "{script}: {done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stderr), format!("[ERROR] {words}\n"), "{script}");
}

#[test]
fn hooks_and_configuration_scripts_have_enroots_functions() {
    let place = place();
    hook(
        &place,
        "#!/bin/bash\nset -eu\nsource \"${ENROOT_LIBRARY_PATH}/common.sh\"\nmade=$(common::mktmpdir x)\n\
         echo 'HOOK=${HOME}' > ${made}/list\ncommon::envsubst ${made}/list >> ${ENROOT_ENVIRON}\n\
         common::rmall ${made}\ntest ! -e ${made}\n",
    );
    conf(&place, "environ() { common::log INFO hi; echo CONF=1; }\n");
    let done = place.run(&["start", "-c", "conf", "c", "sh", "-c", "echo $HOOK $CONF"]);
    assert_eq!(done.ok(), format!("{} 1\n", place.path("home").display()));
    conf(&place, "common::log INFO hi\nhooks() { common::err bad; }\n");
    let words = place.run(&["start", "-c", "conf", "c", "true"]).fails(1);
    assert!(words.starts_with("[INFO] hi\n[ERROR] bad\n"), "{words}");
}

#[test]
fn functions_for_what_is_said() {
    let place = Place::new();
    prints(&place, "common::fmt red text", "text");
    prints(&place, "common::log; common::log INFO; common::log INFO ''", "");
    let said = |script: &str| String::from_utf8(with_functions(&place, script).stderr).unwrap();
    assert_eq!(
        said("printf 'one\\n two\\nthree' | common::log WARN -"),
        "[WARN] one\n[WARN]  two\n[WARN] three\n"
    );
    assert_eq!(
        said("(echo slow; sleep 0.2; echo done) | common::log WARN -"),
        "[WARN] slow\n[WARN] done\n"
    );
    assert_eq!(said("common::log INFO 'a\\tb' NL"), "[INFO] a\tb\n");
    ends(&place, "common::err 'it is so'", "it is so");
    ends(&place, "common::checkcmd sh no-such", "Command not found: no-such");
}

#[test]
fn functions_for_files() {
    let place = Place::new();
    let list = "made=$(common::mktmpdir x); stat -c %a $made; mkdir -p $made/a/b; touch $made/a/b/f\n\
                chmod 0 $made/a; common::rmall $made; ls; common::rmall no-such";
    prints(&place, list, "700\n");
    prints(&place, "common::chdir /usr/bin; pwd; common::realpath .", "/usr/bin\n/usr/bin");
    ends(&place, "common::chdir no-such", "Not a directory to go to: no-such");
    let modes = "mkdir -p d/e; touch d/e/f; chmod 111 d/e/f; chmod 500 d/e; chmod 0 d; common::fixperms d\n\
                 stat -c %a d d/e d/e/f; common::rmall d";
    prints(&place, modes, "700\n700\n511\n");
    prints(&place, "common::mountpoint /proc/self/fd/../status", "/proc");
    prints(
        &place,
        "mkdir -p p; for f in b.sh a.sh c.txt; do echo \"echo $f\" > p/$f; done; chmod +x p/b.sh p/c.txt\n\
                    common::runparts list .sh p; common::runparts exec .sh p; common::runparts list .none p",
        "p/a.sh\np/b.sh\nb.sh\n",
    );
    prints(
        &place,
        "common::debarch x86_64; common::debarch aarch64; common::debarch ppc64le",
        "amd64arm64ppc64le",
    );
    ends(&place, "common::debarch z80", "No architecture of Debian's: z80");
}

#[test]
fn functions_for_text() {
    let place = Place::new();
    prints(&place, "common::read -r -d '' text <<< 'a b'; echo \"[$text]\"", "[a b]\n");
    prints(
        &place,
        "lines=(kept); common::readstrarray lines ''; echo \"${lines[@]}\"\n\
                    common::readstrarray lines $'a b\\nc'; printf '[%s]' \"${lines[@]}\"",
        "kept\n[a b][c]",
    );
    let list = "printf 'A=${NAME}${NAME}!\\nB=$NAME ${not one} ${NONE}\\nlast=${NAME}' > list\n";
    prints(
        &place,
        &format!("{list}common::envsubst list; common::envsubst no-such"),
        "A=${x} &${x} &!\nB=$NAME ${not one} \nlast=${x} &\n",
    );
    let list = "printf '  A=\"b c\" \\n# no\\n\\n1=2\\nENROOT_X=1\\nB=x=\"y\"\\n' > list\n";
    prints(&place, &format!("{list}common::envfmt list; cat list"), "A=b c\nB=x=\"y\"\n");
    let list = "printf 'machine a login b password $(echo c  d)\\nmachine x login y password $z z\\n# $(e)\\n' > list\n";
    prints(
        &place,
        &format!("{list}z=1 common::evalnetrc list; common::evalnetrc no-such"),
        "machine a login b password c d\nmachine x login y password 1 z\n# $(e)\n",
    );
}

#[test]
fn functions_for_what_is_fetched() {
    let place = Place::new();
    executable(
        &place.path("few/curl"),
        "#!/bin/sh\nprintf 'body of %s' \"$5\" > \"$2\"; printf %s \"$STATUS\"; exit \"$RV\"\n",
    );
    executable(&place.path("few/jq"), "#!/bin/sh\necho wrong >&2; cat; exit \"$RV\"\n");
    let ok = "export STATUS=200 RV=0; ";
    prints(
        &place,
        &format!("{ok}common::curl x | cat; common::curl x > file; cat file"),
        "body of xbody of x",
    );
    prints(&place, "export STATUS=404 RV=0; CURL_IGNORE='401 404' common::curl x", "body of x");
    prints(&place, "export STATUS=000 RV=7; common::curl x || echo \" $?\"", "body of x 7\n");
    prints(&place, &format!("{ok}echo in | common::jq -r ."), "in\n");
    ends(
        &place,
        "export STATUS=404 RV=22; common::curl x > /dev/null",
        "x: the server's answer is 404",
    );
    ends(&place, "export RV=5; common::jq < /dev/null", "That is not the JSON that was expected");
}
