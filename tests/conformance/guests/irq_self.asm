;@ long64
;= r 1
;= r 41
;= r 2
;= r 52
;= r 42
;= r 3
;= r 0
;= r 41
;= r 4
; Interrupts sent to oneself: none while they are off, priorities, and what the task priority holds back.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
%macro SELF 1
        mov dword [rbx + 0x310], 0
        mov dword [rbx + 0x300], 0x44000 | %1   ; shorthand: self
%endmacro
        FAULTS64
        GATE 0x41, on41
        GATE 0x42, on42
        GATE 0x52, on52
        APIC_ON
        SELF 0x41
        REPORT 1                                ; interrupts are off
        UNTIL taken, 1
        REPORT 2
        SELF 0x42
        SELF 0x52
        UNTIL taken, 3                          ; the higher class comes first
        REPORT 3
        mov eax, 5
        mov cr8, rax                            ; classes up to 5 wait
        SELF 0x41
        MOMENT
        REPORT 0
        xor eax, eax
        mov cr8, rax
        UNTIL taken, 4
        REPORT 4
        FINISH
HANDLER on41, 0x41
HANDLER on42, 0x42
HANDLER on52, 0x52
taken:  dd 0
