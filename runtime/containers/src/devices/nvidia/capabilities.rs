//! Which of the driver's files are for what: `NVIDIA_DRIVER_CAPABILITIES`.

use std::collections::BTreeSet;

/// What a container wants to do with a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Capability {
    Compute,
    Compat32,
    Display,
    Graphics,
    Ngx,
    Utility,
    Video,
}

use Capability::{Compat32, Compute, Display, Graphics, Ngx, Utility, Video};

const NAMES: [(&str, Capability); 7] = [
    ("compute", Compute),
    ("compat32", Compat32),
    ("display", Display),
    ("graphics", Graphics),
    ("ngx", Ngx),
    ("utility", Utility),
    ("video", Video),
];

/// Names of libraries up to `.so`. What is in no line is for everything: a later driver's library
/// that another one needs.
const LIBRARIES: [(&[Capability], &[&str]); 8] = [
    (&[Utility], &["libnvidia-cfg", "libnvidia-ml", "libnvidia-nscq"]),
    (
        &[Compute],
        &[
            "libcuda",
            "libcudadebugger",
            "libnvidia-compiler",
            "libnvidia-fatbinaryloader",
            "libnvidia-nvvm",
            "libnvidia-nvvm70",
            "libnvidia-opencl",
            "libnvidia-pkcs11",
            "libnvidia-pkcs11-openssl3",
            "libnvidia-ptxjitcompiler",
            "libnvidia-tileiras",
        ],
    ),
    // CUDA allocates by the one and compiles by the other, as EGL and Vulkan do.
    (&[Compute, Graphics, Display], &["libnvidia-allocator", "libnvidia-gpucomp"]),
    (&[Video], &["libnvcuvid", "libnvidia-encode", "libnvidia-opticalflow", "libvdpau_nvidia"]),
    (
        &[Graphics, Display],
        &[
            "libEGL_nvidia",
            "libGLESv1_CM_nvidia",
            "libGLESv2_nvidia",
            "libGLX_nvidia",
            "libnvidia-cbl",
            "libnvidia-egl-gbm",
            "libnvidia-egl-wayland",
            "libnvidia-egl-wayland2",
            "libnvidia-egl-xcb",
            "libnvidia-egl-xlib",
            "libnvidia-eglcore",
            "libnvidia-fbc",
            "libnvidia-glcore",
            "libnvidia-glsi",
            "libnvidia-glvkspirv",
            "libnvidia-gtk2",
            "libnvidia-gtk3",
            "libnvidia-ifr",
            "libnvidia-rtcore",
            "libnvidia-tls",
            "libnvidia-vksc-core",
            "libnvidia-vulkan-producer",
            "libnvidia-wayland-client",
            "libnvoptix",
        ],
    ),
    // Those that stand in for the ones of GLVND.
    (&[Graphics, Display], &["libEGL", "libGL", "libGLESv1_CM", "libGLESv2", "libGLX"]),
    (&[Graphics, Display], &["libglxserver_nvidia", "nvidia_drv"]),
    (&[Ngx], &["libnvidia-ngx"]),
];

/// Programs in the order in which they are looked for.
pub(super) const PROGRAMS: [(&[Capability], &str); 8] = [
    (&[Utility], "nvidia-smi"),
    (&[Utility], "nvidia-debugdump"),
    (&[Utility], "nvidia-persistenced"),
    (&[Compute], "nvidia-cuda-mps-control"),
    (&[Compute], "nvidia-cuda-mps-server"),
    (&[Utility], "nvidia-imex"),
    (&[Utility], "nvidia-imex-ctl"),
    (&[Graphics, Display], "nvidia-xconfig"),
];

/// Those that a container has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities(BTreeSet<Capability>);

impl Capabilities {
    pub(super) fn none() -> Capabilities {
        Capabilities(BTreeSet::new())
    }

    /// Of the variable's value; the error is what is wrong with it.
    pub(crate) fn parse(value: Option<&str>) -> Result<Capabilities, String> {
        let words = value.unwrap_or_default().split(',').map(str::trim);
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return Ok(Capabilities([Compute, Utility].into()));
        }
        if words.contains(&"all") {
            return Ok(Capabilities(NAMES.map(|(_, capability)| capability).into()));
        }
        let known = words.into_iter().filter(|word| *word != "none").map(|word| {
            let found = NAMES.iter().find(|(name, _)| *name == word);
            found.map(|(_, capability)| *capability).ok_or_else(|| {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                format!("NVIDIA_DRIVER_CAPABILITIES: there is no {word:?}; there are all, {names}")
            })
        });
        known.collect::<Result<_, _>>().map(Capabilities)
    }

    pub(crate) fn has(&self, any: &[Capability]) -> bool {
        any.iter().any(|capability| self.0.contains(capability))
    }

    pub(super) fn graphics(&self) -> bool {
        self.has(&[Graphics, Display])
    }

    /// Whether it has use for the library in a file of this name.
    pub(super) fn want_library(&self, file: &str) -> bool {
        let Some((name, _)) = file.split_once(".so") else { return false };
        let mut lines = LIBRARIES.iter().filter(|(_, names)| names.contains(&name)).peekable();
        match lines.peek() {
            // Those of 32 bits and NGX bring nothing by themselves.
            None => self.has(&[Compute, Display, Graphics, Utility, Video]),
            Some(_) => lines.any(|(capabilities, _)| self.has(capabilities)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_variable_means() {
        let parse = |value| Capabilities::parse(Some(value)).unwrap();
        assert_eq!(Capabilities::parse(None).unwrap(), parse("utility,compute"));
        assert_eq!(parse(" "), parse("compute, utility"));
        assert_eq!(parse("video,all").0.len(), NAMES.len());
        assert_eq!(parse("none").0.len(), 0);
        let error = Capabilities::parse(Some("compute,comptue")).unwrap_err();
        assert!(error.contains("there is no \"comptue\"; there are all, compute, "), "{error}");
    }

    #[test]
    fn which_libraries_are_for_what() {
        let wants = |value, file| Capabilities::parse(Some(value)).unwrap().want_library(file);
        for (value, file, expected) in [
            ("compute", "libcuda.so.535.216.01", true),
            ("utility", "libcuda.so.535.216.01", false),
            ("utility", "libnvidia-ml.so.535.216.01", true),
            ("compute", "libnvidia-pkcs11-openssl3.so.535.216.01", true),
            ("graphics", "libnvidia-gpucomp.so.550.1", true),
            ("compute", "libnvidia-gpucomp.so.550.1", true),
            ("video", "libnvidia-gpucomp.so.550.1", false),
            ("ngx", "libnvidia-ngx.so.550.1", true),
            ("all", "libnvidia-ngx.so.550.1", true),
            ("compute", "libnvidia-of-tomorrow.so.999.1", true),
            ("compat32", "libnvidia-of-tomorrow.so.999.1", false),
            ("all", "README", false),
        ] {
            assert_eq!(wants(value, file), expected, "{value} {file}");
        }
    }
}
