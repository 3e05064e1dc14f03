# What nix-flake/module.nix sets, given a Slurm and settings.
{
  flake,
  nixpkgs,
  slurmVersion,
  arguments ? { },
  settings ? { },
}:
let
  lib = import (nixpkgs + "/lib.nix");
  base = import (nixpkgs + "/packages.nix") {
    system = "x86_64-linux";
    inherit slurmVersion;
  };
  # The overlay, as flake.nix has it.
  pkgs = base // {
    pyxis = parts.together (map (release: parts.plugin { inherit release; }) parts.releases);
  };
  parts = base.callPackage (flake + "/package.nix") { src = flake + "/.."; };
  module = import (flake + "/module.nix") { overlay = _: _: { }; } {
    inherit lib pkgs;
    config.services.slurm = {
      package.version = slurmVersion;
      pyxis = {
        enable = true;
        inherit arguments settings;
        package = pkgs.pyxis;
      };
    };
  };
  set = module.config.content;
in
assert module.config.condition;
{
  line = set.services.slurm.extraPlugstackConfig;
  failed = map (assertion: assertion.message) (builtins.filter (assertion: !assertion.assertion) set.assertions);
  path = map (package: package.name) set.systemd.services.slurmd.path;
  toml = if set.environment.etc.condition then set.environment.etc.content."pyxis/pyxis.toml".source.text else "";
  options = builtins.attrNames module.options.services.slurm.pyxis;
}
