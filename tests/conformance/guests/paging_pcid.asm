;@ long64 needs=pcid
;= r 1
;= r 2
;= r 1
;= r 3
; Address-space identifiers: a switch that keeps the TLB, one that flushes, and INVLPG.
        bits 64
%include "common.inc"
%include "faults64.inc"
%macro SPACE 3                                  ; tables at, page, value: 4000_0000h shows the page
        MAP %1, 0, %1 + 0x1000 + 7
        MAP %1 + 0x1000, 0, PD_AT + 7
        MAP %1 + 0x1000, 1, %1 + 0x2000 + 7
        MAP %1 + 0x2000, 0, %1 + 0x3000 + 7
        MAP %1 + 0x3000, 0, %2 + 7
        mov dword [%2], %3
%endmacro
        FAULTS64
        SPACE TABLES, DATA, 1
        SPACE TABLES + 0x8000, DATA + 0x1000, 2
        mov dword [DATA + 0x2000], 3
        mov rax, TABLES
        mov cr3, rax
        mov rax, cr4
        or rax, 1 << 17
        mov cr4, rax
        mov rbx, 0x40000000
        mov rax, TABLES + 1                     ; PCID 1
        mov cr3, rax
        mov eax, [rbx]
        REPORT
        mov rax, TABLES + 0x8000 + 2            ; PCID 2
        mov cr3, rax
        mov eax, [rbx]
        REPORT
        mov rax, (1 << 63) | (TABLES + 1)       ; back, nothing flushed
        mov cr3, rax
        mov eax, [rbx]
        REPORT
        MAP TABLES + 0x3000, 0, DATA + 0x2000 + 7
        invlpg [rbx]
        mov eax, [rbx]
        REPORT
        FINISH
