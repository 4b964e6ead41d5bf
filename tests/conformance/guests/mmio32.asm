;@ protected32
;= load8 d0000000
;= r 3
;= load16 d0000002
;= r 3625
;= load32 d0000004
;= r 7a695847
;= store8 d0000010 88
;= store16 d0000010 7788
;= store32 d0000010 55667788
;= load32 d0000030
;= store32 d0000030 66554432
        bits 32
%include "common.inc"
        mov ebx, MMIO
        xor eax, eax
        mov al, [ebx]
        REPORT
        xor eax, eax
        mov ax, [ebx + 2]
        REPORT
        mov eax, [ebx + 4]
        REPORT
        mov eax, 0x55667788
        mov [ebx + 0x10], al
        mov [ebx + 0x10], ax
        mov [ebx + 0x10], eax
        dec dword [ebx + 0x30]
        FINISH
