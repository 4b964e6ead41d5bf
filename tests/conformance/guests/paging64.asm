;@ long64
;= r 1
;= r f0e
;= r 3
;= r 40000000
;= r f0e
;= r 3
;= r 40000000
;= r f0e
;= r 3
;= r 40000000
;= r f0e
;= r 3
;= r 40000000
;= r 0
;= r f0e
;= r 0
;= r 40000000
;= r f0e
;= r 0
;= r 40000000
;= r f0e
;= r 0
;= r 40000000
;= r f0e
;= r 0
;= r 40000000
;= r f0e
;= r 9
;= r 40000000
;= r f0e
;= r 9
;= r 40000000
;= r f0e
;= r 11
;= r 40000000
;= r f0e
;= r 11
;= r 40000000
;= r f0e
;= r 11
;= r 40000000
;= r f0e
;= r 11
;= r 40000000
;= r 77
;= r 1234
; Four levels over 4000_0000h: PML4[0] of their own, PDPT[1] → directory → table. Each permission bit at each level.
        bits 64
%include "common.inc"
%include "faults64.inc"
%define PML4 TABLES
%define PDPT TABLES + 0x1000
%define PD   TABLES + 0x2000
%define PT   TABLES + 0x3000
%define NX   (1 << 63)
%macro ALL 0                                    ; everything permitted
        MAP PML4, 0, PDPT + 7
        MAP PDPT, 0, PD_AT + 7
        MAP PDPT, 1, PD + 7
        MAP PDPT, 3, PD_MMIO_AT + 7
        MAP PD, 0, PT + 7
        MAP PT, 0, DATA + 7
        FLUSH
%endmacro
%macro FLUSH 0
        mov rax, PML4
        mov cr3, rax
%endmacro
%macro WITH 3                                   ; one entry changed, then the access
        ALL
        MAP %1, %2, %3
        FLUSH
%endmacro
        FAULTS64
        mov rbx, 0x40000000
        mov dword [DATA], 1
        ALL
        mov eax, [rbx]
        REPORT
        ; read-only (CR0.WP is set)
        WITH PML4, 0, PDPT + 7
        MAP PDPT, 1, PD + 5
        FLUSH
        TRY mov dword [rbx], 2
        WITH PD, 0, PT + 5
        TRY mov dword [rbx], 2
        WITH PT, 0, DATA + 5
        TRY mov dword [rbx], 2
        MAP PT, 0, DATA + 5                     ; again, now from a warm TLB
        mov eax, [rbx]
        TRY mov dword [rbx], 2
        ; WP off: ring 0 writes anyway
        mov rax, cr0
        and rax, ~0x10000
        mov cr0, rax
        TRY mov dword [rbx], 0x77
        mov rax, cr0
        or rax, 0x10000
        mov cr0, rax
        ; not present
        WITH PDPT, 1, PD + 6
        TRY mov ecx, [rbx]
        WITH PD, 0, PT + 6
        TRY mov ecx, [rbx]
        WITH PT, 0, DATA + 6
        TRY mov ecx, [rbx]
        WITH PT, 0, 0
        TRY mov ecx, [rbx]
        ; reserved bits: address bit 51, and bit 13 of a large page
        WITH PT, 0, DATA + 7 + (1 << 51)
        TRY mov ecx, [rbx]
        WITH PD, 0, DATA + 0x87 + 0x2000
        TRY mov ecx, [rbx]
        ; no execution
        mov byte [DATA + 8], 0xc3
        WITH PDPT, 1, NX + PD + 7
        TRY jmp rbx
        WITH PD, 0, NX + PT + 7
        TRY jmp rbx
        WITH PT, 0, NX + DATA + 7
        TRY jmp rbx
        WITH PD, 0, NX + DATA + 0x87            ; of a large page
        TRY jmp rbx
        ; a large page reads the same
        WITH PD, 0, DATA + 0x87
        mov eax, [rbx]
        REPORT
        ; aliases: two addresses, one page
        ALL
        MAP PT, 1, DATA + 7
        mov dword [rbx + 0x1010], 0x1234
        mov eax, [rbx + 0x10]
        REPORT
        FINISH
