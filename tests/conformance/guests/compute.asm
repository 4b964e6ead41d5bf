;@ long64
;= r 7ba90c1d
; A long integer computation in ring 0, to be stopped anywhere.
        bits 64
%include "common.inc"
        mov rax, 0x9e3779b97f4a7c15
        mov rdi, DATA
        mov ecx, 3000
.again: mov rbx, rax
        shl rbx, 13
        xor rax, rbx
        mov rbx, rax
        shr rbx, 7
        xor rax, rbx
        mov rbx, rax
        shl rbx, 17
        xor rax, rbx
        mov edx, eax
        and edx, 0xff8
        add [rdi + rdx], rax
        pushfq
        pop r8
        and r8d, 0x8d5
        add rax, r8
        add rax, [rdi + rdx]
        dec ecx
        jnz .again
        mov rbx, rax
        shr rbx, 32
        xor eax, ebx
        REPORT
        FINISH
