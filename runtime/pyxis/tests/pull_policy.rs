//! What a tag is believed to name, by each pull policy.

mod fixtures;

use std::fs;

use fixtures::{Image, Layer, Place, Registry};

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
