#!/usr/bin/env bash
# Copies each DIR/alpha/NAME.png to DIR/alpha_copy/NAME_0.png ... NAME_19.png, so that the alphas of
# Composition-1K have the names of its merged images. Identical existing copies are left unchanged.
#
#     ./copy_testing_alpha.sh Combined_Dataset/Test_set
set -euo pipefail
shopt -s nullglob

readonly backgrounds=20

fail() {
    echo "copy_testing_alpha.sh: $1" >&2
    exit 1
}

if [[ $# -ne 1 || -z $1 ]]; then
    echo "usage: ./copy_testing_alpha.sh DIR   (the folder that holds alpha/)" >&2
    exit 2
fi

source_dir=$1/alpha
target_dir=$1/alpha_copy
[[ -d $source_dir ]] || fail "$source_dir: no such folder"
[[ -r $source_dir && -x $source_dir ]] || fail "$source_dir: this folder cannot be read"
alphas=("$source_dir"/*.png)
[[ ${#alphas[@]} -gt 0 ]] || fail "$source_dir: no .png files in this folder"
mkdir -p -- "$target_dir"

# Copies are renamed when complete, so an interrupted run leaves no partial file.
temporary=$target_dir/.copy.$$.tmp
trap 'rm -f -- "$temporary"' EXIT

copied=0
present=0
for alpha in "${alphas[@]}"; do
    name=$(basename -- "$alpha" .png)
    for ((number = 0; number < backgrounds; number++)); do
        copy=$target_dir/${name}_$number.png
        if [[ -f $copy ]] && cmp -s -- "$alpha" "$copy"; then
            present=$((present + 1))
        else
            cp -- "$alpha" "$temporary"
            mv -f -- "$temporary" "$copy"
            copied=$((copied + 1))
        fi
    done
done
echo "$target_dir: ${#alphas[@]} alphas, $copied copies made, $present already there"
