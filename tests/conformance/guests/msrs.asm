;@ long64
;= r 12345678
;= r f0d
;= r 0
;= r f0d
;= r 0
;= r 70406
;= r 0
; Registers that are plain storage keep what is written; what does not exist, or makes no sense, raises #GP.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        mov ecx, 0xc0000102                     ; kernel GS base
        mov eax, 0x12345678
        mov edx, 0x09abcdef & 0x7fff
        wrmsr
        mov ecx, 0x174                          ; SYSENTER_CS
        mov eax, 0x09abcdef & 0xffff
        xor edx, edx
        wrmsr
        mov ecx, 0xc0000102
        rdmsr
        REPORT
        mov ecx, 0x40007fff
        TRY rdmsr
        mov ecx, 0xc0000102
        mov edx, 0x80000000                     ; not canonical
        TRY wrmsr
        mov ecx, 0x277                          ; PAT
        rdmsr
        and eax, 0x00ffffff
        REPORT
        TRY wbinvd
        FINISH
