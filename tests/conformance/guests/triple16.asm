;@ real end=shutdown
;= r 1
        bits 16
%include "common.inc"
        REPORT 1
        lidt [none]
        ud2
        REPORT 2
        FINISH
none:   dw 0
        dd 0
