;@ long64 needs=syscall
;= r 3
;= r 8
;= r 1
;= r 2b
;= r 777
;= r 55
; SYSCALL and SYSRET: selectors, flags masked and given back, RCX and R11.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        mov ecx, 0xc0000081                     ; STAR: kernel 08h, user base 1Bh
        xor eax, eax
        mov edx, 0x001b0008
        wrmsr
        mov ecx, 0xc0000082                     ; LSTAR
        mov eax, kernel
        xor edx, edx
        wrmsr
        mov ecx, 0xc0000084                     ; SFMASK: carry
        mov eax, 1
        wrmsr
        push DS_USER
        push 0x70000
        push 2
        push CS64_USER
        push user
        iretq
user:   mov ebx, 3
        stc
        syscall
after:  mov ebx, 0x777
        mov r12, cs
        syscall
kernel: mov r15, rsp
        cmp ebx, 3
        jne .second
        REPORT 3
        mov eax, cs
        REPORT
        pushfq
        pop rax
        xor eax, r11d                           ; carry was set there and is clear here
        and eax, 1
        REPORT
        o64 sysret
.second:
        mov eax, r12d
        REPORT
        mov eax, ebx
        REPORT
        REPORT 0x55
        FINISH
