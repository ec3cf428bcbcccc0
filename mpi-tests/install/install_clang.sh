#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Built by clang, optimised, as a static library alone: no warning; the RPATH is the one that
# was given, as Spack does; a program by pkg-config, compiled by gcc, runs on two ranks.
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
if ! command -v clang-14 >/dev/null; then
    echo "skip: no clang-14"
    exit 77
fi
rm -rf "$TEST_WORK"
mkdir -p "$TEST_WORK"
cmake -G Ninja -S "$TEST_SOURCE" -B "$TEST_WORK/build" -DCMAKE_C_COMPILER=clang-14 \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DRECTO_WERROR=ON -DBUILD_SHARED_LIBS=OFF \
    -DRECTO_BUILD_TESTS=OFF -DRECTO_BUILD_APPS=OFF -DRECTO_FORTRAN=OFF \
    "-DCMAKE_INSTALL_RPATH=/spack/lib;/spack/hdf5/lib" >"$TEST_WORK/configure.log"
cmake --build "$TEST_WORK/build" -j 2 >"$TEST_WORK/build.log" || {
    cat "$TEST_WORK/build.log"
    exit 1
}
cmake --install "$TEST_WORK/build" --prefix "$TEST_WORK/prefix" >"$TEST_WORK/install.log"
for program in recto recto-files; do
    readelf -d "$TEST_WORK/prefix/bin/$program" | grep -F '[/spack/lib:/spack/hdf5/lib]'
done
export PKG_CONFIG_PATH=$TEST_WORK/prefix/lib/pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs recto)"
gcc -std=c11 -D_DEFAULT_SOURCE "$TEST_SOURCE/mpi-tests/install/consumer.c" \
    -o "$TEST_WORK/program" "${flags[@]}"
export RECTO_CKPT_DIR=$TEST_WORK/run/ckpt
for node in auto rank; do
    RECTO_NODE=$node timeout 60 "$TEST_MPIRUN" "$TEST_WORK/run" 2 "$TEST_WORK/program"
done
