# Entry of every small test guest: a multiboot 1 ELF kernel (Multiboot Specification 0.6.96, 3.1 and 3.2), 32-bit flat
# segments. Calls guest_main(magic, information); when that returns, its value goes to the debug-exit port.
        .set MAGIC, 0x1badb002
        .set FLAGS, 0x3                 # modules on page boundaries, memory information

        .section .multiboot, "a"
        .balign 4
        .long MAGIC
        .long FLAGS
        .long -(MAGIC + FLAGS)

        .text
        .globl _start
_start:
        movl $stack_top, %esp
        pushl $0
        popfl
        pushl %ebx
        pushl %eax
        call guest_main
        outl %eax, $0xf4
1:      cli
        hlt
        jmp 1b

        .bss
        .balign 16
        .skip 16384
stack_top:

        .section .note.GNU-stack, "", @progbits
