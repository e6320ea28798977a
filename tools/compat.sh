#!/usr/bin/env bash
# Runs the tests on CPython 3.13, once with the newest release of every library and once with pandas 2:
#
#   tools/compat.sh WHEEL [PYTEST_ARGUMENT]...
#
# COMPAT names the sets of libraries to test, `newest` and `pandas2`; the default is both. Python comes from a Debian
# that is kept in target/compat. This needs root, and Debian's package debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=$1
shift
declare -A libraries=([newest]='pandas>=3' [pandas2]='pandas<3')
system=$PWD/target/compat/trixie
packages=python3,python3-venv,ca-certificates,strace,util-linux,libgomp1,passwd,git,pgbouncer,xfsprogs

if [[ $EUID -ne 0 ]] || ! command -v debootstrap >/dev/null; then
    echo "This needs root and debootstrap: as root, run \`apt-get install debootstrap\`" >&2
    exit 2
fi

if [[ ! -e $system/.complete ]]; then
    rm -rf "$system"
    mkdir -p "$system"
    debootstrap --variant=minbase --include=$packages trixie "$system" >"$system.log" || { tail "$system.log" >&2; exit 1; }
    touch "$system/.complete"
fi

# The tracked files as they are, the wheel, and what pip needs to reach its index.
rm -rf "$system/project"
mkdir -p "$system/project/dist"
git ls-files -z | tar --create --null --files-from - | tar --extract --directory "$system/project"
cp "$wheel" "$system/project/dist/"
cp /etc/resolv.conf "$system/etc/"
cp --dereference /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/"
[[ ! -e /etc/pip.conf ]] || cp /etc/pip.conf "$system/etc/"

# The mounts belong to a namespace of their own, so they end with its last process. The Debian becomes its root: under
# chroot, the kernel would refuse the tests that make a namespace.
inside() {
    unshare --mount bash -c '
        set -e
        system=$1
        shift
        mount --bind "$system" "$system"
        mount -t proc proc "$system/proc"
        mount --rbind /dev "$system/dev"
        mount -t tmpfs tmpfs "$system/tmp"
        cd "$system"
        pivot_root . .
        umount --lazy .
        exec env --unset=PIP_FIND_LINKS HOME=/root LANG=C.UTF-8 PATH=/usr/bin:/bin:/usr/sbin:/sbin "$@"
    ' - "$system" "$@"
}

failed=()
for name in ${COMPAT:-newest pandas2}; do
    printf '\n== CPython 3.13, %s\n' "$name"
    inside bash -c '
        set -e
        name=$1 libraries=$2 wheel=$3
        shift 3
        cd /project
        python3 -m venv /opt/$name
        # Python compiles each module when it imports it. Compiling all of them takes as long as the installation.
        /opt/$name/bin/pip install --quiet --no-compile --upgrade --upgrade-strategy eager --group test "$wheel[all]" "$libraries"
        # Without force, pip keeps an installed wheel of the same version, even if the content differs.
        /opt/$name/bin/pip install --quiet --no-compile --no-deps --force-reinstall "$wheel"
        /opt/$name/bin/pip list | grep -E "^(anndata|mudata|numpy|pandas|pyarrow|zarr) "
        rm -rf python  # the wheel is what is tested
        exec /opt/$name/bin/pytest "$@"
    ' - "$name" "${libraries[$name]}" "dist/$(basename "$wheel")" "$@" || failed+=("$name")
done

if ((${#failed[@]})); then
    printf '\nfailed with: %s\n' "${failed[*]}" >&2
    exit 1
fi
