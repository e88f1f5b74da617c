#!/bin/sh
# Builds the shim for every architecture that has a compiler here. Usage: build.sh [output folder]
# The same compiler gives the same bytes: no paths, times or build ids get in. bin/COMPILER says which compiler that was.
set -eu
cd "$(dirname "$0")"
out=${1:-../bin}
build() { # architecture, compiler
	command -v "$2" >/dev/null || { echo "no $2: $1 left as it is" >&2; return 0; }
	"$2" -std=c11 -Os -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector \
		-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fomit-frame-pointer -ffunction-sections $3 \
		-Wl,--build-id=none -Wl,--gc-sections -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -s \
		-o "$out/shim_linux_$1" text.c record.c cgroup.c child.c private.c share.c box.c enter.c beside.c tree.c log.c lease.c control.c machine.c session.c files.c guest.c main.c
	"$2" --version | head -n 1 >"$out/COMPILER_$1"
}
build amd64 x86_64-linux-gnu-gcc -fcf-protection=none
build arm64 aarch64-linux-gnu-gcc -mno-outline-atomics
