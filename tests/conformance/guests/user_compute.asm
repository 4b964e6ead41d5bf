;@ long64
;= r f06
;= r 0
;= r bb17f65d
; Integer, x87 and SSE work in ring 3, where a hardware engine runs it on the CPU itself; to be stopped anywhere.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        mov al, 0xff                            ; nothing from the PICs: interrupts are on below
        out 0x21, al
        out 0xa1, al
        mov qword [resume], done
        mov [resume_rsp], rsp
        push DS_USER
        push 0x70000
        push 0x202
        push CS64_USER
        push user
        iretq
done:   mov eax, r10d
        REPORT
        FINISH
user:   mov eax, 3
        mov [number], rax
        mov ecx, 300000
        mov eax, 0x12345
        xor r10d, r10d
        pxor xmm0, xmm0
        movd xmm1, eax
        pshufd xmm1, xmm1, 0
        movdqa xmm2, xmm1
.again: paddd xmm0, xmm1
        pslld xmm1, 1
        pxor xmm1, xmm0
        psrld xmm2, 3
        paddd xmm2, xmm1
        imul eax, eax, 1103515245
        add eax, 12345
        mov edx, eax
        shr edx, 16
        add r10d, edx
        rol r10d, 3
        adc r10d, 0
        dec ecx
        jnz .again
        fninit
        mov ecx, 1000
        fild qword [number]
.float: fld st0
        fsqrt
        faddp
        fmul dword [half]
        dec ecx
        jnz .float
        fistp qword [number]
        add r10d, [number]
        paddd xmm0, xmm2
        movd eax, xmm0
        xor r10d, eax
        ud2
        align 8
number: dq 0
half:   dd 0.75
