"""The daemon's services in one loop, under a clock and a fault menu of ours."""
