// Entry: the stack holds argc, argv, a null, the environment (System V ABI, AMD64 supplement, "Process Initialization").
    .globl _start
    .type _start, @function
_start:
    xor %ebp, %ebp
    mov (%rsp), %rax
    lea 8(%rsp), %rdi
    lea 16(%rsp,%rax,8), %rsi
    and $-16, %rsp
    call nagaya_reaper_run
    hlt
    .section .note.GNU-stack,"",@progbits
