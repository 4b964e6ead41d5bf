;@ long64
;= r f00
;= r 0
;= r f06
;= r 0
;= r f0d
;= r 0
;= r f0d
;= r 1234
;= r f0e
;= r 0
;= r 40000000
;= r f0e
;= r 2
;= r 40000123
;= r f0e
;= r 10
;= r 40000000
;= r f0d
;= r 0
;= r f0d
;= r 0
;= r f07
;= r 0
;= r f0b
;= r 58
;= r f0c
;= r 0
;= r 0
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        xor ecx, ecx
        xor edx, edx
        mov eax, 1
        TRY div ecx                             ; divide error
        TRY ud2                                 ; undefined
        mov ecx, 0x12345678
        TRY rdmsr                               ; no such MSR: general protection
        mov eax, 0x1234
        TRY mov ds, ax                          ; selector beyond the table (index 246h), error code 1234h
        mov rbx, 0x40000000
        TRY mov cl, [rbx]                       ; not present, read
        TRY mov [rbx + 0x123], cl               ; not present, write
        TRY jmp rbx                             ; not present, fetch (with NX on)
        mov rbx, 0x8000000000000000
        TRY mov cl, [rbx]                       ; not canonical
        mov rax, cr4
        or rax, 1 << 30
        TRY mov cr4, rax                        ; reserved bit
        mov rax, cr0
        or rax, 8                               ; task switched
        mov cr0, rax
        TRY fninit
        clts
        mov rax, 0x00cf13000000ffff             ; data segment that is not present, at 58h
        mov [GDT_AT + 0x58], rax
        lgdt [table]
        mov eax, 0x58
        TRY mov fs, ax
        mov rbx, rsp
        mov rcx, 0x7000000000000000
        mov qword [resume], .after              ; stack address that is not canonical
        mov [resume_rsp], rsp
        xchg rbp, rcx
        mov al, [rbp]
.after:
        xchg rbp, rcx
        TRY mov cl, [DATA]                      ; nothing wrong
        FINISH
table:  dw 0x5f
        dq GDT_AT
