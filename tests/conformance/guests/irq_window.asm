;@ long64
;= r 41
;= r 1
;= r 41
;= r 2
; The shortest windows: one instruction between STI and CLI, and between POPF and CLI.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
        FAULTS64
        GATE 0x41, on41
        APIC_ON
        mov dword [rbx + 0x310], 0
        mov dword [rbx + 0x300], 0x44041
        mov eax, [rbx + 0x300]                  ; sent
        sti
        nop
        cli
        REPORT 1
        mov dword [rbx + 0x300], 0x44041
        mov eax, [rbx + 0x300]
        push 0x202
        popfq
        nop
        cli
        REPORT 2
        FINISH
HANDLER on41, 0x41
taken:  dd 0
