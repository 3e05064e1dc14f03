{
  description = "Containers for Slurm jobs: pyxis, for every Slurm release";

  # Each nixpkgs has one Slurm. The older ones are here for theirs alone: a plugin is built against the spank.h of its release
  # where one of these has it, and with the committed interface where none has.
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixpkgs-a.url = "github:NixOS/nixpkgs/nixos-25.05";
    nixpkgs-b.url = "github:NixOS/nixpkgs/nixos-24.11";
    nixpkgs-c.url = "github:NixOS/nixpkgs/nixos-24.05";
    nixpkgs-d.url = "github:NixOS/nixpkgs/nixos-23.11";
  };

  outputs =
    inputs@{ self, nixpkgs, ... }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem = lib.genAttrs systems;
      sources = builtins.attrValues (removeAttrs inputs [ "self" ]);

      partsOf = pkgs: pkgs.callPackage ./package.nix { src = ../.; };

      # Of a system: every Slurm at hand by its release, the first of each.
      slurmsOf =
        system: parts:
        let
          all = map (source: source.legacyPackages.${system}.slurm) sources;
          known = builtins.filter (slurm: builtins.elem (parts.releaseOf slurm) parts.releases) all;
        in
        builtins.listToAttrs (
          map (slurm: {
            name = parts.releaseOf slurm;
            value = slurm;
          }) known
        );

      pluginsOf =
        slurms: parts:
        map (
          release:
          parts.plugin {
            inherit release;
            slurm = slurms.${release} or null;
          }
        ) parts.releases;
    in
    {
      packages = eachSystem (
        system:
        let
          parts = partsOf nixpkgs.legacyPackages.${system};
          plugins = pluginsOf (slurmsOf system parts) parts;
          named = map (plugin: {
            name = "slurm${parts.ident plugin.release}";
            value = plugin;
          }) plugins;
        in
        builtins.listToAttrs named
        // rec {
          inherit (parts) loader command;
          pyxis = parts.together plugins;
          default = pyxis;
        }
      );

      # pkgs.pyxis, with the build for pkgs.slurm against that very Slurm; pkgs.pyxisParts.plugin for another.
      overlays.default = final: _prev: {
        pyxisParts = partsOf final;
        pyxis =
          let
            parts = final.pyxisParts;
          in
          parts.together (pluginsOf { ${parts.releaseOf final.slurm} = final.slurm; } parts);
      };

      nixosModules.default = import ./module.nix { overlay = self.overlays.default; };

      checks = eachSystem (
        system:
        let
          parts = partsOf nixpkgs.legacyPackages.${system};
        in
        {
          verified = parts.verified (pluginsOf (slurmsOf system parts) parts);
          inherit (self.packages.${system}) pyxis;
        }
      );
    };
}
