rule clinic_all:
    input:
        upto("clinic"),
