;@ protected32
;= r 5a
;= r 5a
;= r 1
; 32-bit two-level tables: 4 KiB and 4 MiB pages, accessed and dirty bits.
        bits 32
%include "common.inc"
        mov dword [DATA], 0x5a
        mov dword [TABLES], 0x83                ; 4 MiB, one to one
        mov dword [TABLES + 4 * 256], TABLES + 0x1000 + 3
        mov dword [TABLES + 0x1000], DATA + 3
        mov eax, cr4
        or al, 0x10
        mov cr4, eax
        mov eax, TABLES
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov ebx, 0x40000000
        mov eax, [ebx]
        REPORT
        mov eax, [DATA]
        REPORT
        mov dword [ebx + 4], 1
        mov eax, [TABLES + 0x1000]
        and eax, 0x60
        cmp eax, 0x60
        sete al
        movzx eax, al
        REPORT
        FINISH
