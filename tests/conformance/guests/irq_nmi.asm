;@ long64
;= r 1
;= r 2
;= r 3
;= r 2
;= r 4
; NMI reaches a processor with interrupts off, and a second one waits for IRET.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        GATE 2, on_nmi
        cli
        REPORT 1
        mov dword [again], 1
        xor eax, eax
        out 0xe3, al
.wait:  pause
        cmp dword [done], 2
        jne .wait
        REPORT 4
        FINISH
on_nmi: push rax
        REPORT 2
        cmp dword [again], 1
        jne .last
        mov dword [again], 0
        xor eax, eax
        out 0xe3, al                            ; comes after the IRETQ below
        mov ecx, 50
.spin:  dec ecx
        jnz .spin
        REPORT 3
.last:  inc dword [done]
        pop rax
        iretq
again:  dd 0
done:   dd 0
