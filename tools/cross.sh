#!/bin/sh
# The core for Windows and macOS, compiled and linked on Linux by zig's clang, which brings the headers of both:
#
#   tools/cross.sh [x86_64-windows-gnu] [x86_64-macos] [aarch64-macos]
#
# Every file of csrc/ for every instruction set, with the flags of CMakeLists.txt and its -Wall -Wextra -Wconversion
# -Werror, and tools/smoke.c linked to them. Where wine is installed the Windows program runs, and must print what the
# same program prints here, to the last bit of the trained weights. Nothing of macOS can run, and no Python is involved:
# what that leaves untried, docs/releasing.md says.
#
# Needs a C compiler and python3 with venv; ziglang, CMake and Ninja come from PyPI into build/cross.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
at="$tree/build/cross"
python="$at/tools/bin/python"
say() { printf '\n== %s\n' "$*"; }
[ $# -gt 0 ] || set -- x86_64-windows-gnu x86_64-macos aarch64-macos
mkdir -p "$at"

[ -x "$python" ] || {
    say "tools"
    python3 -m venv "$at/tools"
    "$python" -m pip install -q --disable-pip-version-check 'ziglang>=0.13' cmake ninja
}
PATH="$at/tools/bin:$PATH"
export ZIG_GLOBAL_CACHE_DIR="$at/zig" ZIG_LOCAL_CACHE_DIR="$at/zig"

configure() { # name, options
    name=$1
    shift
    cmake -S "$tree" -B "$at/$name" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNNCORE_WERROR=ON -DNNCORE_OWN_THREADS=ON \
        -DNNCORE_PYTHON=OFF "$@" >"$at/log" 2>&1 || { cat "$at/log"; exit 1; }
    cmake --build "$at/$name" --parallel 2 --target nn_c nn_smoke >"$at/log" 2>&1 || { cat "$at/log"; exit 1; }
}

say "for this machine, by $(cc --version | head -n 1)"
configure here
"$at/here/nn_smoke" | tee "$at/here.txt"

for target in "$@"; do
    say "$target, by $("$python" -m ziglang cc --version | head -n 1)"
    case $target in
    *-windows-*) system=Windows suffix=.exe ;;
    *-macos) system=Darwin suffix= ;;
    *) echo "$target is neither of Windows nor of macOS" >&2; exit 2 ;;
    esac
    # zig takes -march for its own -mcpu, which spells names with underscores
    cat >"$at/cc-$target" <<END
#!/bin/sh
for flag; do
    shift
    case \$flag in -march=*) flag=\$(echo "\$flag" | tr - _ | sed s/^_/-/) ;; esac
    set -- "\$@" "\$flag"
done
exec "$python" -m ziglang cc -target $target "\$@"
END
    chmod +x "$at/cc-$target"
    configure "$target" -DCMAKE_SYSTEM_NAME=$system -DCMAKE_SYSTEM_PROCESSOR="${target%%-*}" \
        -DCMAKE_C_COMPILER="$at/cc-$target"
    echo "$(find "$at/$target" -name '*.o' -o -name '*.obj' | wc -l) files compiled, nn_smoke$suffix linked"
    [ $system = Windows ] || continue
    # the compiler's headers have POSIX threads, which those of clang-cl have not
    if find "$at/$target" \( -name '*.o' -o -name '*.obj' \) -exec grep -l pthread {} +; then
        echo "these use POSIX threads" >&2
        exit 1
    fi
    wine=$(command -v wine64 || command -v wine || true)
    if [ -n "$wine" ]; then
        WINEDEBUG=-all WINEPREFIX="$at/wine" "$wine" "$at/$target/nn_smoke.exe" | tr -d '\r' >"$at/$target.txt"
        diff "$at/here.txt" "$at/$target.txt"
        echo "under wine it prints the same"
    else
        echo "wine is missing: not run"
    fi
done
