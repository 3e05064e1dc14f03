# services.slurm.pyxis: the line in plugstack.conf, and what nodes need.
{ overlay }:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.slurm.pyxis;
  release = lib.versions.majorMinor config.services.slurm.package.version;
  arguments = lib.mapAttrsToList (
    key: value: "${key}=${if builtins.isBool value then (if value then "1" else "0") else toString value}"
  ) cfg.arguments;
  words = [
    "required ${cfg.package}/lib/slurm/spank_pyxis.so"
    "pyxis_path=${cfg.package}/bin/pyxis"
  ] ++ arguments;
  toml = pkgs.formats.toml { };
in
{
  options.services.slurm.pyxis = {
    enable = lib.mkEnableOption "pyxis, the options --container-* of srun, sbatch and salloc";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.pyxis;
      defaultText = lib.literalExpression "pkgs.pyxis";
      description = "Package with the plugin's loader, its builds and the pyxis command.";
    };

    arguments = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.oneOf [
          lib.types.bool
          lib.types.str
        ]
      );
      default = { };
      example = {
        runtime = "pyxis";
        container_scope = "job";
        sbatch_support = true;
      };
      description = "Arguments of the plugin in plugstack.conf.";
    };

    settings = lib.mkOption {
      inherit (toml) type;
      default = { };
      example = {
        container.writable = true;
      };
      description = "Contents of /etc/pyxis/pyxis.toml, the settings of the built-in runtime.";
    };
  };

  config = lib.mkIf cfg.enable {
    nixpkgs.overlays = [ overlay ];

    assertions = [
      {
        assertion = builtins.elem release cfg.package.releases;
        message = "services.slurm.pyxis: no build for Slurm ${release}; there are ${lib.concatStringsSep ", " cfg.package.releases}";
      }
    ];

    services.slurm.extraPlugstackConfig = lib.concatStringsSep " " words;

    environment.systemPackages = [ cfg.package ];
    environment.etc = lib.mkIf (cfg.settings != { }) {
      "pyxis/pyxis.toml".source = toml.generate "pyxis.toml" cfg.settings;
    };

    # Tasks look for these in the PATH that slurmd has.
    systemd.services.slurmd.path = [
      pkgs.squashfuse
      pkgs.squashfsTools
    ];
    boot.kernelModules = [ "fuse" ];
    security.allowUserNamespaces = true;
    security.unprivilegedUsernsClone = true;
  };
}
