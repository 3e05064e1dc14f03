//! Where images and containers are kept, and what is said where they cannot be.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::Place;

/// As a home on a server that is read-only, or over its quota.
#[test]
fn a_home_that_takes_nothing_is_named_with_the_setting_for_another_place() {
    let place = Place::new();
    place.image("image", |_| {});
    let home = place.path("closed");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o555)).unwrap();
    let said = |arguments: &[&str]| {
        let mut command = place.pyxis(arguments);
        for name in ["ENROOT_DATA_PATH", "XDG_DATA_HOME", "ENROOT_CACHE_PATH", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        let done = command.env_remove("PYXIS_STORE_PATH").env("HOME", &home).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        String::from_utf8(done.stderr).unwrap().replace(home.to_str().unwrap(), "~")
    };
    assert_eq!(
        said(&["create", "-n", "c", "image.sqsh"]),
        "pyxis: cannot create ~/.local/share/enroot: Permission denied (os error 13); another place for \
         containers: data in [paths] of pyxis.toml, or ENROOT_DATA_PATH\n"
    );
    assert_eq!(
        said(&["pull", "docker://localhost:1/x"]),
        "pyxis: cannot create ~/.cache/pyxis: Permission denied (os error 13); another place for images: \
         path in [store] of pyxis.toml, or PYXIS_STORE_PATH\n"
    );
}
