;@ protected32
;= r 5a
;= r 60
;= r 33
; PAE tables with 4 KiB and 2 MiB pages; a page-directory pointer changed in memory counts only after CR3 is written.
        bits 32
%include "common.inc"
        mov dword [DATA], 0x5a
        mov dword [DATA + 0x1000], 0x33
        mov dword [TABLES], TABLES + 0x1001     ; 0..1 GiB
        mov dword [TABLES + 8], TABLES + 0x2001 ; 1..2 GiB
        mov dword [TABLES + 0x1000], 0x83
        mov dword [TABLES + 0x1008], 0x200083
        mov dword [TABLES + 0x2000], TABLES + 0x3003
        mov dword [TABLES + 0x3000], DATA + 3
        mov dword [TABLES + 0x4000], TABLES + 0x5003
        mov dword [TABLES + 0x5000], DATA + 0x1003
        mov eax, cr4
        or al, 0x20
        mov cr4, eax
        mov eax, TABLES
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov ebx, 0x40000000
        mov eax, [ebx]
        REPORT
        mov [ebx + 4], eax
        mov eax, [TABLES + 0x3000]
        and eax, 0x60
        REPORT
        mov dword [TABLES + 8], TABLES + 0x4001
        mov eax, cr3
        mov cr3, eax
        mov eax, [ebx]
        REPORT
        FINISH
