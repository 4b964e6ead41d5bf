;@ long64
;= r 45
;= r 10
;= r 46
;= r 46
;= r 11
;= r 12
;= r 46
;= r 13
; Lines through the I/O APIC: edge, level (again until it falls), masked.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
        FAULTS64
        GATE 0x45, on45
        GATE 0x46, on46
        APIC_ON
        IOAPIC_ENTRY 5, 0x00045, 0
        IOAPIC_ENTRY 11, 0x08046, 0             ; level-triggered
        LINE 5, 1
        UNTIL taken, 1
        LINE 5, 0
        MOMENT
        REPORT 0x10
        LINE 11, 1                              ; handled twice: the handler lowers it the second time
        UNTIL taken, 3
        MOMENT
        REPORT 0x11
        IOAPIC_ENTRY 11, 0x18046, 0             ; masked
        LINE 11, 1
        MOMENT
        REPORT 0x12
        IOAPIC_ENTRY 11, 0x08046, 0             ; unmasked while it is up
        UNTIL taken, 4
        REPORT 0x13
        FINISH
HANDLER on45, 0x45
on46:   push rax
        REPORT 0x46
        inc dword [taken]
        cmp dword [taken], 2
        je .more
        LINE 11, 0
.more:  EOI
        pop rax
        iretq
taken:  dd 0
