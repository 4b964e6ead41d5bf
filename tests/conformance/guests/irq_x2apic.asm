;@ long64 needs=x2apic
;= r 0
;= r 41
;= r 5
;= r f0d
;= r 0
;= r 42
;= r 1
; x2APIC: registers as MSRs, the self-IPI register, #GP for what does not exist.
        bits 64
%include "common.inc"
%include "faults64.inc"
%include "apic.inc"
        FAULTS64
        GATE 0x41, on41
        GATE 0x42, on42
        mov al, 0xff
        out 0x21, al
        out 0xa1, al
        mov ecx, 0x1b
        rdmsr
        or eax, 0xc00
        wrmsr
        mov ecx, 0x802                          ; id
        rdmsr
        REPORT
        mov ecx, 0x80f                          ; spurious
        mov eax, 0x1ff
        xor edx, edx
        wrmsr
        mov ecx, 0x83f                          ; self IPI
        mov eax, 0x41
        wrmsr
        UNTIL taken, 1
        REPORT 5
        mov ecx, 0x80e                          ; destination format: not in this mode
        TRY rdmsr
        mov ecx, 0x830                          ; command, 64 bits, to id 0
        mov eax, 0x4042
        xor edx, edx
        wrmsr
        UNTIL taken, 2
        REPORT 1
        FINISH
%macro ON 2
%1:     push rax
        push rcx
        push rdx
        REPORT %2
        inc dword [taken]
        mov ecx, 0x80b
        xor eax, eax
        xor edx, edx
        wrmsr
        pop rdx
        pop rcx
        pop rax
        iretq
%endmacro
ON on41, 0x41
ON on42, 0x42
taken:  dd 0
