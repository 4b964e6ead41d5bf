;@ long64
;= r 41
;= r 1
;= r 41
;= r 2
; The shortest windows, one instruction between STI and CLI or POPF and CLI: opened again and again, they let an interrupt in.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
        FAULTS64
        GATE 0x41, on41
        APIC_ON
        mov dword [rbx + 0x310], 0
        mov dword [rbx + 0x300], 0x44041
        mov ecx, 20000
.first: sti
        nop
        cli
        cmp dword [taken], 1
        je .one
        dec ecx
        jnz .first
.one:   REPORT [taken]
        mov dword [rbx + 0x300], 0x44041
        mov ecx, 20000
.again: push 0x202
        popfq
        nop
        cli
        cmp dword [taken], 2
        je .two
        dec ecx
        jnz .again
.two:   REPORT [taken]
        FINISH
HANDLER on41, 0x41
taken:  dd 0
