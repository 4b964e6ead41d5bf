;@ long64
;= r 27
;= r 27
;= r 27
;= r 67
;= r 7
;= r e7
;= r a7
;= r 27
; The walker sets accessed on the way down and dirty at the end, only where a write happened.
        bits 64
%include "common.inc"
%include "faults64.inc"
%define PML4 TABLES
%define PDPT TABLES + 0x1000
%define PD   TABLES + 0x2000
%define PT   TABLES + 0x3000
%macro SHOW 2
        mov eax, [(%1) + 8 * (%2)]
        and eax, 0xfff
        REPORT
%endmacro
        MAP PML4, 0, PDPT + 7
        MAP PDPT, 0, PD_AT + 7
        MAP PDPT, 1, PD + 7
        MAP PD, 0, PT + 7
        MAP PD, 1, DATA + 0x87
        MAP PD, 2, DATA + 0x87
        MAP PT, 0, DATA + 7
        MAP PT, 1, DATA + 7
        MAP PT, 2, DATA + 7
        mov rax, PML4
        mov cr3, rax
        mov rbx, 0x40000000
        mov ecx, [rbx]                          ; page 0: read
        mov [rbx + 0x1000], ecx                 ; page 1: written
        mov [rbx + 0x200000], ecx               ; large page 1: written
        mov ecx, [rbx + 0x400000]               ; large page 2: read
        SHOW PDPT, 1
        SHOW PD, 0
        SHOW PT, 0
        SHOW PT, 1
        SHOW PT, 2
        SHOW PD, 1
        SHOW PD, 2
        SHOW PML4, 0
        FINISH
