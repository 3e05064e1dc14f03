{
  description = "Not nixpkgs: a stand-in with what nix-flake/ uses of it, for evaluation in tests";

  outputs =
    { self }:
    let
      lib = import ./lib.nix;
      slurmVersion = builtins.readFile ./slurm-version;
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ] (system: import ./packages.nix { inherit system slurmVersion; });
    };
}
