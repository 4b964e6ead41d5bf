;@ real
;= in8 500
;= r 3
;= in16 502
;= r 3625
;= in32 504
;= r 7a695847
;= in32 507
;= r ad9c8b7a
;= out8 508 44
;= out16 508 3344
;= out32 508 11223344
;= out16 511 3344
;= in8 511
;= r 11223324
        bits 16
%include "common.inc"
%include "io.inc"
