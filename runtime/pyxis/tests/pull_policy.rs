//! What a tag is believed to name, by each pull policy.

mod fixtures;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use fixtures::{Image, Layer, Place, Registry, text};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

fn image(name: &str) -> Image {
    Image::new(&[Layer::new().file(name, name).gzip()])
}

/// As srun's host does for a step of several nodes, which has no images itself.
#[test]
fn what_a_tag_named_once_is_believed_for_as_long_as_it_is_to_be_had() {
    let (mut place, registry) = (Place::new(), Registry::start());
    let (first, second) = (image("a"), image("b"));
    let uri = registry.push(&first, "a:1");
    place.set("PYXIS_PULL_POLICY", "missing");
    let digest = |place: &Place| place.ok(&["digest", "--index", &uri]).trim().to_owned();
    assert_eq!(digest(&place), first.digest());
    registry.push(&second, "a:1");
    let asked = registry.requests("/manifests/");
    assert_eq!(digest(&place), first.digest(), "the tag was moved, and nobody is to look");
    assert_eq!(registry.requests("/manifests/"), asked);
    // A node has the image.
    let path = place.ok(&["pull", "--resolved", &first.digest(), &uri]);
    registry.forget(first.digest().trim_start_matches("sha256:"));
    assert_eq!(digest(&place), first.digest(), "the image is there");
    fs::remove_file(path.trim()).unwrap();
    assert_eq!(digest(&place), second.digest(), "nobody has what it named");
    let uri_again = uri.clone();
    drop(registry);
    place.set("ENROOT_TRANSFER_RETRIES", "0");
    let said = place.ok(&["digest", "--index", &uri_again]);
    assert_eq!(said.trim(), second.digest(), "who does not answer says nothing");
}

/// As where an image was fetched by the digest that srun's host, or `pull --nodes`, has found for the tag.
#[test]
fn a_tag_that_was_looked_up_by_another_host_is_known_where_the_image_is() {
    let (mut place, registry) = (Place::new(), Registry::start());
    let image = image("a");
    let (digest, uri) = (image.digest(), registry.push(&image, "a:1"));
    let path = place.ok(&["pull", "--resolved", &digest, &uri]);
    let asked = registry.requests("/manifests/");
    for policy in ["never", "missing"] {
        assert_eq!(place.ok(&["pull", "--policy", policy, &uri]), path);
    }
    // A step of several nodes that begins on this one, as in a batch script.
    place.set("PYXIS_PULL_POLICY", "never");
    assert_eq!(place.ok(&["digest", "--index", &uri]).trim(), digest);
    assert_eq!(registry.requests("/manifests/"), asked);
    // The image is there already: by another tag of the same.
    let other = registry.push(&image, "a:2");
    place.ok(&["pull", "--policy", "missing", "--resolved", &digest, &other]);
    assert_eq!(place.ok(&["pull", &other]), path);
}

#[test]
fn a_digest_in_a_name_says_nothing_of_the_tag_beside_it() {
    let (place, registry) = (Place::new(), Registry::start());
    let (first, second) = (image("a"), image("b"));
    let uri = registry.push(&first, "a:1");
    registry.push(&second, "a:2");
    place.ok(&["pull", &format!("{uri}@{}", second.digest())]);
    let said = place.fails(&["pull", "--policy", "never", &uri]);
    assert!(said.contains("knows no image by the name") && said.contains("a:1"), "{said}");
}

#[test]
fn an_outdated_digest_is_told_from_an_image_that_is_not_there() {
    let (place, registry) = (Place::new(), Registry::start());
    let image = image("a");
    let (digest, uri) = (image.digest(), registry.push(&image, "a:1"));
    registry.forget(digest.trim_start_matches("sha256:"));
    let said = place.fails(&["pull", "--policy", "missing", "--resolved", &digest, &uri]);
    assert!(said.ends_with("PYXIS_PULL_POLICY=always does it"), "{said}");
    let said = place.fails(&["pull", "--policy", "missing", &format!("{uri}@{digest}")]);
    assert!(!said.contains("POLICY"), "{said}");
}

/// Else it would be collected before its image, which is then not to be found by its tag.
#[test]
fn a_manifest_is_used_whenever_its_image_is() {
    let (place, registry) = (Place::new(), Registry::start());
    let image = image("a");
    let uri = registry.push(&image, "a:1");
    place.ok(&["pull", &uri]);
    let manifest = place.path("store/blobs").join(image.digest().trim_start_matches("sha256:"));
    let then = SystemTime::now() - Duration::from_secs(100_000);
    File::open(&manifest).unwrap().set_modified(then).unwrap();
    place.ok(&["pull", "--policy", "missing", &uri]);
    let used = fs::metadata(&manifest).unwrap().modified().unwrap();
    assert!(used.elapsed().unwrap_or_default() < Duration::from_secs(10_000));
}

/// The store of all users, in which its account makes an image at somebody's request.
fn shared(name: &str) -> Place {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let account = Place::new();
    fs::create_dir(account.path("store")).unwrap();
    fs::set_permissions(account.path("store"), fs::Permissions::from_mode(0o755)).unwrap();
    send(ours.as_raw_fd(), name.as_bytes(), MsgFlags::empty()).unwrap();
    let mut command = account.command(&["broker", "--stdin"]);
    assert!(command.stdin::<OwnedFd>(theirs).status().unwrap().success());
    drop(command);
    let mut message = [0; 4096];
    let mut said = Vec::new();
    while let Ok(count @ 1..) = recv(ours.as_raw_fd(), &mut message, MsgFlags::empty()) {
        said.push(text(&message[..count]));
    }
    assert_eq!(said.last().map(String::as_str), Some("done"), "{said:?}");
    account
}

#[test]
fn an_image_of_the_shared_store_is_known_to_everybody_by_its_tag() {
    let registry = Registry::start();
    let image = image("a");
    let uri = registry.push(&image, "a:1");
    let account = shared(&format!("{uri}@{}", image.digest()));
    let mut user = Place::new();
    user.set("PYXIS_STORE_LOWER", account.path("store").to_str().unwrap());
    let asked = registry.requests("");
    let path = user.ok(&["pull", "--policy", "never", &uri]);
    assert!(path.contains(account.path("store").to_str().unwrap()), "{path}");
    assert_eq!(registry.requests(""), asked);
    // What its user does not remember is looked up, unless that is not to be.
    user.ok(&["pull", "--policy", "missing", &uri]);
    assert!(registry.requests("") > asked);
    let references = fs::read_dir(account.path("store/references")).unwrap();
    assert_eq!(references.count(), 0, "nothing that anybody can have grow");
}

/// By a mirror of their own, or as the tag is in a name with a digest: the account asks the registry.
#[test]
fn nobody_says_what_a_tag_names_for_others() {
    let registry = Registry::start();
    let (right, wrong) = (image("a"), image("b"));
    let uri = registry.push(&right, "a:1");
    registry.push(&wrong, "a:2");
    let account = shared(&format!("{uri}@{}", wrong.digest()));
    let mut user = Place::new();
    user.set("PYXIS_STORE_LOWER", account.path("store").to_str().unwrap());
    let said = user.fails(&["pull", "--policy", "never", &uri]);
    assert!(said.contains("knows no image by the name"), "{said}");
    // By its digest it is there.
    let path = user.ok(&["pull", "--policy", "never", &format!("{uri}@{}", wrong.digest())]);
    assert!(path.contains(account.path("store").to_str().unwrap()), "{path}");
}
