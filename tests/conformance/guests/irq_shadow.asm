;@ long64
;= r 2
;= r 41
;= r 3
; STI holds interrupts back for one instruction; so HLT right behind it never misses one, and STI, CLI lets none through.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
        FAULTS64
        GATE 0x41, on41
        APIC_ON
        mov dword [rbx + 0x310], 0
        mov dword [rbx + 0x300], 0x44041
        mov eax, [rbx + 0x300]
        mov ecx, 100
.never: sti
        cli
        dec ecx
        jnz .never
        REPORT 2
        sti
        hlt                                     ; wakes at once
        cli
        REPORT 3
        FINISH
HANDLER on41, 0x41
taken:  dd 0
