# The parts of pyxis as derivations. Plugins are built against the spank.h of the Slurm they are for, where one is given;
# else with the committed interface of the release.
{
  lib,
  rustPlatform,
  runCommand,
  # The source tree.
  src,
}:

let
  manifest = builtins.fromTOML (builtins.readFile (src + "/Cargo.toml"));
  inherit (manifest.workspace.package) version;

  # Every release that has its facts: 20.11, 21.08, ...
  releases = map (lib.removeSuffix ".toml") (
    builtins.filter (lib.hasSuffix ".toml") (builtins.attrNames (builtins.readDir (src + "/slurm-releases/releases")))
  );

  # 24.11.1.1 is of 24.11.
  releaseOf = slurm: lib.versions.majorMinor slurm.version;

  ident = release: builtins.replaceStrings [ "." ] [ "_" ] release;

  common = {
    inherit version src;
    cargoLock.lockFile = src + "/Cargo.lock";
    # What tests need a Slurm, a network and other things for is run by `make check`.
    doCheck = false;
    meta = {
      description = "Containers for Slurm jobs";
      homepage = "https://github.com/NVIDIA/pyxis";
      license = lib.licenses.asl20;
      platforms = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    };
  };

  # The build for one release. `slurm`, if not null, must be of that release: the build checks it.
  plugin =
    {
      release,
      slurm ? null,
    }:
    let
      real = slurm != null;
      features = "slurm-${builtins.replaceStrings [ "." ] [ "-" ] release}" + lib.optionalString real ",spank-bindings/real-header";
    in
    assert lib.assertMsg (builtins.elem release releases)
      "pyxis has no build for Slurm ${release}; there are ${lib.concatStringsSep ", " releases}";
    assert lib.assertMsg (!real || releaseOf slurm == release) "the Slurm given for ${release} is ${slurm.version}";
    rustPlatform.buildRustPackage (
      common
      // {
        pname = "pyxis-slurm${release}";
        # bindgen reads the header with libclang.
        nativeBuildInputs = lib.optional real rustPlatform.bindgenHook;
        env = lib.optionalAttrs real { SLURM_SPANK_INCLUDE = "${lib.getDev slurm}/include"; };
        buildPhase = ''
          runHook preBuild
          cargo rustc --release --frozen --package=plugin --lib --crate-type=cdylib --features ${features}
          runHook postBuild
        '';
        installPhase = ''
          runHook preInstall
          install -D -m 444 target/release/libspank_pyxis.so $out/lib/pyxis/${release}/spank_pyxis.so
          runHook postInstall
        '';
        passthru = {
          inherit release slurm;
        };
      }
    );

  # What Slurm loads: it opens the build for the running Slurm.
  loader = rustPlatform.buildRustPackage (
    common
    // {
      pname = "pyxis-loader";
      buildPhase = ''
        runHook preBuild
        cargo build --frozen --profile loader --package loader
        runHook postBuild
      '';
      installPhase = ''
        runHook preInstall
        install -D -m 444 target/loader/libpyxis_loader.so $out/lib/slurm/spank_pyxis.so
        runHook postInstall
      '';
    }
  );

  # The container runtime.
  command = rustPlatform.buildRustPackage (
    common
    // {
      pname = "pyxis-command";
      buildPhase = ''
        runHook preBuild
        cargo build --release --frozen --package pyxis --bin pyxis
        runHook postBuild
      '';
      installPhase = ''
        runHook preInstall
        install -D -m 555 target/release/pyxis $out/bin/pyxis
        target/release/pyxis generate man $out/share/man/man1
        mkdir -p $out/share/man/man5
        mv $out/share/man/man1/*.5 $out/share/man/man5
        runHook postInstall
      '';
      meta = common.meta // {
        mainProgram = "pyxis";
      };
    }
  );

  matrix = rustPlatform.buildRustPackage (
    common
    // {
      pname = "pyxis-build-matrix";
      buildPhase = ''
        runHook preBuild
        cargo build --release --frozen --package build-matrix
        runHook postBuild
      '';
      installPhase = ''
        runHook preInstall
        install -D -m 555 target/release/build-matrix $out/bin/build-matrix
        runHook postInstall
      '';
    }
  );

  # Everything in one tree. Copies, no links: the loader looks for builds beside its real file.
  together =
    plugins:
    runCommand "pyxis-${version}"
      {
        inherit (common) meta;
        passthru = {
          inherit plugins;
          releases = map (plugin: plugin.release) plugins;
        };
      }
      ''
        mkdir -p $out/share/pyxis
        for part in ${loader} ${command} ${lib.concatMapStringsSep " " toString plugins}; do
          cp -r --no-preserve=mode,ownership $part/. $out/
        done
        chmod 555 $out/bin/pyxis
        echo "required $out/lib/slurm/spank_pyxis.so pyxis_path=$out/bin/pyxis" > $out/share/pyxis/pyxis.conf
      '';

  # Each plugin is what it should be, by the checks that packages go through.
  verified =
    plugins:
    runCommand "pyxis-verified" { nativeBuildInputs = [ matrix ]; } ''
      build-matrix verify ${lib.concatMapStringsSep " " (plugin: "${plugin}/lib/pyxis/${plugin.release}/spank_pyxis.so") plugins} > $out
    '';
in
{
  inherit
    releases
    releaseOf
    ident
    plugin
    loader
    command
    together
    verified
    ;
}
