# The functions of nixpkgs' lib that nix-flake/ uses, as far as it uses them. For evaluation in tests only.
rec {
  hasSuffix = suffix: text: builtins.substring (builtins.stringLength text - builtins.stringLength suffix) (-1) text == suffix;
  removeSuffix =
    suffix: text:
    if hasSuffix suffix text then
      builtins.substring 0 (builtins.stringLength text - builtins.stringLength suffix) text
    else
      text;
  versions.majorMinor = version: concatStringsSep "." (take 2 (builtins.filter builtins.isString (builtins.split "\\." version)));
  take = n: list: builtins.genList (builtins.elemAt list) n;
  genAttrs =
    names: f:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = f name;
      }) names
    );
  mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
  optional = condition: value: if condition then [ value ] else [ ];
  optionalString = condition: text: if condition then text else "";
  optionalAttrs = condition: set: if condition then set else { };
  concatStringsSep = builtins.concatStringsSep;
  concatMapStringsSep =
    separator: f: list:
    concatStringsSep separator (map f list);
  getDev = package: package.dev or package;
  assertMsg = condition: message: condition || throw message;
  licenses.asl20 = "Apache-2.0";

  mkOption = option: option // { _type = "option"; };
  mkEnableOption = description: mkOption {
    inherit description;
    default = false;
  };
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  literalExpression = text: text;
  types = {
    package = "package";
    bool = "bool";
    str = "str";
    oneOf = types: types;
    attrsOf = type: type;
  };
}
