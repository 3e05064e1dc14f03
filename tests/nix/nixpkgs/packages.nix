# Packages that nix-flake/ uses, as derivations that hold what they were asked for and build nothing.
{ system, slurmVersion }:
let
  lib = import ./lib.nix;
  # Functions and sets do not fit in a derivation's environment.
  fits = value: builtins.isString value || builtins.isPath value || builtins.isBool value || builtins.isInt value || value ? outPath || builtins.isList value;
  derive =
    attributes:
    let
      env = attributes.env or { };
      plain = removeAttrs attributes (builtins.filter (name: !(fits attributes.${name})) (builtins.attrNames attributes));
      made = derivation (
        plain
        // env
        // {
          inherit system;
          name = attributes.name or "${attributes.pname}-${attributes.version}";
          builder = "/bin/sh";
        }
      );
    in
    made // (attributes.passthru or { }) // { inherit (attributes) meta; };
  package =
    pname: version:
    derive {
      inherit pname version;
      meta = { };
    };
  packages = {
    inherit lib system;
    rustPlatform = {
      bindgenHook = package "bindgen-hook" "0";
      buildRustPackage =
        attributes:
        # As the real one: it wants to know what is downloaded.
        assert builtins.pathExists attributes.cargoLock.lockFile;
        derive ({ meta = { }; } // attributes);
    };
    runCommand =
      name: attributes: script:
      derive (
        {
          inherit name script;
          meta = { };
        }
        // attributes
      );
    slurm = package "slurm" slurmVersion // {
      version = slurmVersion;
      dev = package "slurm-dev" slurmVersion;
    };
    squashfuse = package "squashfuse" "0.5";
    squashfsTools = package "squashfs-tools" "4.6";
    formats.toml = _: {
      type = "toml";
      generate = _: value: { text = builtins.toJSON value; };
    };
    callPackage =
      path: overrides:
      let
        function = import path;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) packages // overrides);
  };
in
packages
