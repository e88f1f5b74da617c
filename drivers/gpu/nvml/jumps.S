// go-nvml refers to NVML's functions as if it were linked with them, and has the dynamic linker find each at its first call: a function
// that the library lacks ends the process, and where binding is not lazy, as some compilers have it, the program does not even
// start. So here is each of them as a jump through a table, which jumps.c fills from the library that was loaded.
#if defined(__x86_64__)
.macro jump name
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    jmp *coinop_slot_\name(%rip)
    .size \name, . - \name
.endm
#elif defined(__aarch64__)
.macro jump name
    .globl \name
    .hidden \name
    .type \name, %function
\name:
    adrp x16, coinop_slot_\name
    ldr x16, [x16, :lo12:coinop_slot_\name]
    br x16
    .size \name, . - \name
.endm
#endif

#if defined(__x86_64__) || defined(__aarch64__)
.text
#define NVML(name) jump name
#include "names.h"
#endif

.section .note.GNU-stack, "", %progbits
