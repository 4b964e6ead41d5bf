;@ long64
;= r 3
;= r 1
;= r 1
;= r 77
; The local APIC's timer: periodic, one-shot, each waking HLT.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
        FAULTS64
        GATE 0x50, tick
        APIC_ON
        mov dword [rbx + 0x3e0], 0xb            ; divide by 1
        mov dword [rbx + 0x320], 0x20050        ; periodic
        mov dword [rbx + 0x380], 5000000
wait3:  sti
        hlt
        cli
        cmp dword [ticks], 3
        jb wait3
        mov dword [rbx + 0x320], 0x10050        ; masked
        mov dword [rbx + 0x380], 0
        sti                                     ; one that came before it was masked
        nop
        cli
        REPORT 3
        mov dword [ticks], 0
        mov dword [rbx + 0x320], 0x50           ; one-shot
        mov dword [rbx + 0x380], 3000000
wait1:  sti
        hlt
        cli
        cmp dword [ticks], 0
        je wait1
        REPORT [ticks]
        mov eax, [rbx + 0x390]                  ; the count has run out
        test eax, eax
        sete al
        movzx eax, al
        REPORT
        REPORT 0x77
        FINISH
tick:   push rax
        inc dword [ticks]
        EOI
        pop rax
        iretq
ticks:  dd 0
