;@ protected32
;= r 1
;= r 50
;= r 48
;= r 2
;= r 4000
; Hardware task switch: a far call to another TSS and IRET back through its link.
        bits 32
%include "common.inc"
%define OTHER 0x2800
        ; descriptor 50h: an available 32-bit TSS
        mov dword [GDT_AT + 0x50], OTHER << 16 | 0x67
        mov dword [GDT_AT + 0x54], 0x00008900
        mov dword [OTHER + 0x20], other
        mov dword [OTHER + 0x24], 2
        mov dword [OTHER + 0x38], 0x60000       ; ESP
        mov dword [OTHER + 0x48], DS32          ; ES
        mov dword [OTHER + 0x4c], CS32
        mov dword [OTHER + 0x50], DS32
        mov dword [OTHER + 0x54], DS32
        mov dword [OTHER + 0x58], DS32
        mov dword [OTHER + 0x5c], DS32
        mov word [OTHER + 0x66], 0x68
        REPORT 1
        call 0x50:0
        REPORT 2
        mov eax, [OTHER + 0x24]                 ; the flags it was left with: NT is clear again
        and eax, 0x4000
        xor eax, 0x4000
        REPORT
        FINISH
other:  str eax
        REPORT
        movzx eax, word [OTHER]                 ; back link
        REPORT
        iretd
